"""The models by the names of their workloads, with random batches of given shapes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graphs import Gnn, collate
from models import Dlrm, Gpt, Mlp, ResNet, UNet, Vit
from sequences import TextClassifier, Transformer
from speech import Conformer, DeepSpeech

Shapes = dict[str, list[int]]
Batch = dict[str, Tensor]

# Values of each categorical feature of the flights; all share one table.
FLIGHTS = (229, 229, 3399, 7, 24, 182, 60, 229 * 182, 229 * 182, 229 * 168)


@dataclass(frozen=True)
class Workload:
    """A model, and what makes a random batch for it: of the shapes of the fields, and of the lengths."""

    model: Callable[[], nn.Module]
    batch: Callable[[Shapes, Batch], Batch]


def images(shapes: Shapes, _: Batch) -> Batch:
    return {
        "image": torch.randn(shapes["image"]),
        "label": torch.randint(10, shapes["label"]),
    }


def flights(shapes: Shapes, _: Batch) -> Batch:
    examples = shapes["dense"][0]
    before, columns = 0, []
    for size in FLIGHTS:
        columns.append(before + torch.randint(size, (examples,)))
        before += size
    return {
        "dense": torch.randn(shapes["dense"]),
        "category": torch.stack(columns, dim=1),
        "label": torch.randint(2, (examples,)),
    }


def tokens(vocabulary: int) -> Callable[[Shapes, Batch], Batch]:
    return lambda shapes, _: {"tokens": torch.randint(vocabulary, shapes["tokens"])}


def padded(shape: list[int], first: int, vocabulary: int) -> Tensor:
    """Tokens from `first` on, filled up with 0: half as many as fit up to all, the first example full."""
    examples, most = shape
    lengths = torch.randint((most + 1) // 2, most + 1, (examples,))
    lengths[0] = most
    drawn = torch.randint(first, vocabulary, (examples, most))
    return drawn * (torch.arange(most) < lengths[:, None])


def pairs(shapes: Shapes, _: Batch) -> Batch:
    return {"source": padded(shapes["source"], 3, 29), "target": padded(shapes["target"], 3, 42)}


def sentences(shapes: Shapes, _: Batch) -> Batch:
    return {
        "tokens": padded(shapes["tokens"], 1, 30_522),
        "label": torch.randint(2, shapes["label"]),
    }


def slices(shapes: Shapes, _: Batch) -> Batch:
    return {name: torch.randn(shapes[name]) for name in ("input", "target")}


def speech(shapes: Shapes, lengths: Batch) -> Batch:
    most = shapes["tokens"][1]
    drawn = torch.randint(1, 29, shapes["tokens"])
    return {
        "features": torch.randn(shapes["features"]),
        "tokens": drawn * (torch.arange(most) < lengths["lengths"][:, None]),
        **lengths,
    }


def molecules(shapes: Shapes, lengths: Batch) -> Batch:
    """Trees and rings are not told apart: a bond goes from any atom of its molecule to any other."""
    atoms = lengths["counts"].view(-1, 2)[:, :1, None]
    return collate(
        {
            "atoms": torch.rand(shapes["atoms"]).round(),
            "bonds": torch.rand(shapes["bonds"]).round(),
            "links": (torch.rand(shapes["links"]) * atoms).long(),
            "counts": lengths["counts"].view(-1, 2),
            "label": torch.randint(-1, 2, shapes["label"]),
        }
    )


WORKLOADS = {
    "digits_mlp": Workload(Mlp, images),
    # Channels as the last axis in memory save a sixth here, and nothing in the U-Net.
    "fashion_resnet": Workload(lambda: ResNet().to(memory_format=torch.channels_last), images),
    "flights_dlrm": Workload(lambda: Dlrm(sum(FLIGHTS)), flights),
    "fashion_vit": Workload(Vit, images),
    "shakespeare_gpt": Workload(lambda: Gpt(65, 64, 64, 2, 2), tokens(65)),
    "modular_gpt": Workload(lambda: Gpt(98, 3, 64, 4, 1, last_only=True), tokens(98)),
    "mri_unet": Workload(UNet, slices),
    "pcba_gnn": Workload(Gnn, molecules),
    "speech_conformer": Workload(Conformer, speech),
    "speech_lstm": Workload(DeepSpeech, speech),
    "cmudict_transformer": Workload(Transformer, pairs),
    # Of workstation size: timed where it is named, since its data must have been fetched.
    "sentences_encoder": Workload(TextClassifier, sentences),
}


def random_batch(name: str, row: dict) -> Batch:
    """A batch of the shapes and lengths that `velodrome bench --format json` told in `row`."""
    lengths = {field: torch.tensor(values) for field, values in row["lengths"].items()}
    return WORKLOADS[name].batch(row["fields"], lengths)
