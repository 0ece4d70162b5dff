"""Writes the reference of the tests of Llama, of GGUF files and of byte pairs: llama_tiny.gguf (a random Llama
of two layers with a tokenizer) and llama_tiny.json (inputs, what NumPy computes with the dequantised weights
in 64 bits, gradients by central differences, and the tokens of some texts by Hugging Face's tokenizers).

The model is written here as in transformers' modeling_llama.py: matrices of queries and keys whose rotary
pairs lie half a head apart, and keys and values repeated for their heads of queries.

    pip install numpy gguf tokenizers
    python make_llama_tiny.py
"""

import importlib.metadata
import json

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

WIDTH, HEADS, SHARED, LAYERS, HIDDEN, BASE, EPSILON = 32, 4, 2, 2, 64, 100.0, 1e-5
HEAD = WIDTH // HEADS
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

# The tokenizer: all bytes but one, and 44 merges.
cut = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cut)
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
trainer = trainers.BpeTrainer(
    vocab_size=len(SPECIAL) + 255 + 44,
    special_tokens=SPECIAL,
    initial_alphabet=[c for c in alphabet if c != "Ą"],  # byte 0x04
    show_progress=False,
)
text = "the capital of France is Paris and the capital of Italy is Rome; that is what they said then.\n    "
tokenizer.train_from_iterator([text] * 9 + ["été", "naïve"], trainer)
saved = json.loads(tokenizer.to_str())["model"]
tokens = sorted(saved["vocab"], key=saved["vocab"].get)
assert len(tokens) == 302 and "Ą" not in tokens
tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])

texts = [
    "the capital of France is",
    " they said: that's WHAT  they  said\n\n  in 1984, 12.5 times",
    "I'll've don't  \t x\u00a0y \n",
    "    indented\n\t\ttwice   ",
    "été naïve 日本語 🚲 ٣٤ ½ x² a1b2",
    "",
    "...!!!   ((a))  's 'S",
]
cases = [{"text": t, "ids": tokenizer.encode(t).ids} for t in texts]

# The weights.
rng = np.random.default_rng(7)
shared = HEAD * SHARED
shapes = {"token_embd": (len(tokens), WIDTH)}
for layer in range(LAYERS):
    for part, shape in [
        ("attn_norm", (WIDTH,)),
        ("attn_q", (WIDTH, WIDTH)),
        ("attn_k", (shared, WIDTH)),
        ("attn_v", (shared, WIDTH)),
        ("attn_output", (WIDTH, WIDTH)),
        ("ffn_norm", (WIDTH,)),
        ("ffn_gate", (HIDDEN, WIDTH)),
        ("ffn_up", (HIDDEN, WIDTH)),
        ("ffn_down", (WIDTH, HIDDEN)),
    ]:
        shapes[f"blk.{layer}.{part}"] = shape
shapes["output_norm"] = (WIDTH,)

writer = gguf.GGUFWriter("llama_tiny.gguf", "llama")
writer.add_block_count(LAYERS)
writer.add_context_length(64)
writer.add_embedding_length(WIDTH)
writer.add_feed_forward_length(HIDDEN)
writer.add_head_count(HEADS)
writer.add_head_count_kv(SHARED)
writer.add_rope_freq_base(BASE)
writer.add_rope_dimension_count(HEAD)
writer.add_layer_norm_rms_eps(EPSILON)
writer.add_vocab_size(len(tokens))
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("smollm")
writer.add_token_list(tokens)
writer.add_token_types([3 if t in SPECIAL else 1 for t in tokens])
writer.add_token_merges([" ".join(m) for m in saved["merges"]])
writer.add_unk_token_id(0)
weights = {}
for name, shape in shapes.items():
    value = rng.normal(1.0 if "norm" in name else 0.0, 0.3, shape).astype(np.float32)
    kind = Kind.F32 if "norm" in name else Kind.Q8_0 if name == "token_embd" else Kind.Q4_1
    packed = value if kind == Kind.F32 else gguf.quants.quantize(value, kind)
    writer.add_tensor(name + ".weight", packed, raw_dtype=kind)
    plain = value if kind == Kind.F32 else gguf.quants.dequantize(packed, kind)
    weights[name] = plain.astype(np.float64)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()


def halves(matrix):
    """From neighbouring pairs to pairs half a head apart."""
    rows, columns = matrix.shape
    return matrix.reshape(rows // HEAD, HEAD // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def rms(x, scale):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * scale


def logits(tokens):
    examples, n = tokens.shape
    frequency = BASE ** -(np.arange(0, HEAD, 2) / HEAD)
    angle = np.concatenate([np.outer(np.arange(n), frequency)] * 2, -1)

    def turn(x):
        half = np.concatenate([-x[..., HEAD // 2 :], x[..., : HEAD // 2]], -1)
        return x * np.cos(angle) + half * np.sin(angle)

    def split(x):
        return x.reshape(examples, n, -1, HEAD).swapaxes(1, 2)

    mask = np.triu(np.full((n, n), -np.inf), 1)
    x = weights["token_embd"][tokens]
    for layer in range(LAYERS):
        w = lambda part: weights[f"blk.{layer}.{part}"]
        h = rms(x, w("attn_norm"))
        query, key = turn(split(h @ halves(w("attn_q")).T)), turn(split(h @ halves(w("attn_k")).T))
        key, value = [np.repeat(t, HEADS // SHARED, 1) for t in (key, split(h @ w("attn_v").T))]
        scores = query @ key.swapaxes(2, 3) / np.sqrt(HEAD) + mask
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        x = x + (shares @ value).swapaxes(1, 2).reshape(examples, n, WIDTH) @ w("attn_output").T
        h = rms(x, w("ffn_norm"))
        gate = h @ w("ffn_gate").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("ffn_up").T)) @ w("ffn_down").T
    return rms(x, weights["output_norm"]) @ weights["token_embd"].T


inputs = np.array([[1, 50, 261, 7, 300, 99, 2, 0], [5, 280, 280, 3, 17, 1, 260, 44]])
# One prediction is right.
inputs[1, 7] = logits(inputs[:, :-1])[1, 6].argmax()
answer = np.array([[0, 0, 0, 1, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0, 1, 1]])


def measure():
    scores = logits(inputs[:, :-1])
    top = scores.max(-1, keepdims=True)
    normal = scores - top - np.log(np.exp(scores - top).sum(-1, keepdims=True))
    each = -np.take_along_axis(normal, inputs[:, 1:, None], -1)[..., 0]
    wrong = scores.argmax(-1) != inputs[:, 1:]
    counts = answer[:, 1:]
    return (each * counts).sum() / counts.sum(), (wrong * counts).sum() / counts.sum()


gradients = []
for name in shapes:
    value = weights[name]
    gradient = np.zeros_like(value)
    for at in np.ndindex(value.shape):
        kept = value[at]
        sides = []
        for step in (1e-5, -1e-5):
            value[at] = kept + step
            sides.append(measure()[0])
        value[at] = kept
        gradient[at] = (sides[0] - sides[1]) / 2e-5
    # Linear maps are kept the other way round here; the table of tokens is not.
    flat = (gradient.T if name.startswith("blk") else gradient).ravel()
    wave = np.sin(0.7 * np.arange(flat.size))
    gradients.append([round(float(np.linalg.norm(flat)), 9), round(float(flat @ wave), 9)])

loss, error_rate = measure()
scores = logits(inputs[:, :-1])
version = importlib.metadata.version
reference = {
    "numpy": np.__version__,
    "gguf": version("gguf"),
    "tokenizers": version("tokenizers"),
    "cases": cases,
    "tokens": inputs.tolist(),
    "answer": answer.tolist(),
    "first": [round(x, 7) for x in scores[0, 3, :40].tolist()],
    "second": [round(x, 7) for x in scores[1, 6, -40:].tolist()],
    "loss": round(float(loss), 9),
    "error_rate": float(error_rate),
    "gradients": gradients,
}
with open("llama_tiny.json", "w") as file:
    json.dump(reference, file, ensure_ascii=False)
    file.write("\n")
