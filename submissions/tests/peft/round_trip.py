"""Loads adapters that Velodrome trained and wrote, in Hugging Face PEFT, and compares the outputs.

    VELODROME_EXPORTS=/tmp/exports cargo test --release --workspace --test peft exports
    python round_trip.py /tmp/exports

Needs torch and peft (checked with PyTorch 2.15.0 and PEFT 0.21.2). No test of the repository runs it;
what it printed last is in `round_trip.txt` beside it.
"""

import sys
from pathlib import Path

import peft
import torch
from safetensors.torch import load_file


class Tiny(torch.nn.Module):
    def __init__(self, base):
        super().__init__()
        for name in ("up", "down"):
            rows, columns = base[f"{name}.weight"].shape
            setattr(self, name, torch.nn.Linear(columns, rows))
        self.load_state_dict(base)

    def forward(self, x):
        return self.down(torch.tanh(self.up(x)))


def under(prefix, tensors):
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def main(root):
    print(f"torch {torch.__version__.split('+')[0]}, peft {peft.__version__}")
    worst = 0.0
    for folder in sorted(p for p in Path(root).iterdir() if p.is_dir()):
        case = load_file(folder / "case.safetensors")
        model = peft.PeftModel.from_pretrained(Tiny(under("base.", case)), folder).eval()
        with torch.no_grad():
            output = (model(case["input"]) - case["output"]).abs().max().item()
            merged = model.merge_and_unload().state_dict()
            weights = max((merged[k] - v).abs().max().item() for k, v in under("merged.", case).items())
        worst = max(worst, output, weights)
        print(f"{folder.name:10} output {output:.1e}  merged weights {weights:.1e}")
    print(f"largest error {worst:.1e}")
    return 0 if worst < 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
