"""Writes the reference of the encoder's tests: bert_tiny.safetensors (the weights of a random BERT of two
layers) and bert_tiny.json (inputs, and what transformers computes from them in 64 bits).

    pip install torch transformers safetensors
    python make_bert_tiny.py
"""

import json

import torch
import transformers
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

torch.manual_seed(5)
config = BertConfig(
    vocab_size=13,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=6,
    type_vocab_size=2,
    layer_norm_eps=1e-12,
    hidden_act="gelu",
    pad_token_id=0,
    attn_implementation="eager",
)
model = BertModel(config).eval()
with torch.no_grad():
    # The library starts biases at 0 and norms at 1: nothing would show an exchange of them.
    for name, parameter in model.named_parameters():
        parameter.normal_(0.0, 0.4)
        if name.endswith("LayerNorm.weight"):
            parameter.add_(1.0)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    weights.pop("embeddings.position_ids", None)
    save_file(weights, "bert_tiny.safetensors")

    model = model.double()
    tokens = torch.tensor([[1, 7, 12, 3, 2], [1, 5, 2, 0, 0]])
    types = torch.tensor([[0, 0, 0, 0, 0], [0, 1, 1, 1, 1]])
    mask = (tokens != 0).long()

    def states(types):
        output = model(tokens, attention_mask=mask, token_type_ids=types, output_hidden_states=True)
        return output.hidden_states

    last = states(torch.zeros_like(types))[-1]
    text = mask.double().unsqueeze(-1)
    mean = (last * text).sum(1) / text.sum(1)
    sentences = torch.nn.functional.normalize(mean, p=2, dim=1)

rounded = lambda tensor: [round(x, 7) for x in tensor.flatten().tolist()]
reference = {
    "torch": torch.__version__.split("+")[0],
    "transformers": transformers.__version__,
    "tokens": tokens.tolist(),
    "types": types.tolist(),
    "states": [rounded(state) for state in states(torch.zeros_like(types))],
    "states_with_types": [rounded(state) for state in states(types)],
    "sentences": rounded(sentences),
}
with open("bert_tiny.json", "w") as file:
    json.dump(reference, file)
    file.write("\n")
