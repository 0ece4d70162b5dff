"""A message-passing network on molecules."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ATOM, BOND, TASKS, WIDTH, STEPS = 30, 9, 16, 48, 3


class Update(nn.Module):
    """Linear map of several parts side by side, layer norm, ReLU.

    The map of the whole is the sum of the maps of its parts; a part that atoms or graphs share is mapped
    once for each of them and not once for each bond, as Velodrome does it, which is faster here as well.
    """

    def __init__(self, *widths: int):
        super().__init__()
        self.linear = nn.Linear(sum(widths), WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.widths = widths

    def maps(self) -> tuple[Tensor, ...]:
        """The weights of each part, [WIDTH, part]."""
        return self.linear.weight.split(self.widths, dim=1)

    def finish(self, mapped: Tensor) -> Tensor:
        return F.relu(self.norm(mapped))


class Step(nn.Module):
    """Bonds, atoms and graphs are updated, in this order."""

    def __init__(self, own: int, graph: int):
        super().__init__()
        self.bond = Update(own, own, own, graph)
        self.atom = Update(own, WIDTH, WIDTH, graph)
        self.graph = Update(WIDTH, WIDTH, graph)

    def forward(
        self, atoms: Tensor, bonds: Tensor, graphs: Tensor | None, batch: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`graphs` is `None` before the first step, where it would be 0."""
        sender, receiver, graph_of_atom = (
            batch[name] for name in ("sender", "receiver", "graph_of_atom")
        )

        def shared(update: Update, weight: Tensor) -> Tensor:
            if graphs is None:
                return update.linear.bias
            return F.linear(graphs, weight, update.linear.bias)[graph_of_atom]

        own, sending, receiving, graph = self.bond.maps()
        sent = F.linear(atoms, sending) + shared(self.bond, graph)
        received = F.linear(atoms, receiving)
        bonds = self.bond.finish(F.linear(bonds, own) + sent[sender] + received[receiver])

        own, sending, receiving, graph = self.atom.maps()
        sent = sum_by(sender, len(atoms), bonds)
        received = sum_by(receiver, len(atoms), bonds)
        mapped = F.linear(atoms, own) + F.linear(sent, sending) + F.linear(received, receiving)
        atoms = self.atom.finish(mapped + shared(self.atom, graph))

        # Each bond has one sender, so that the sum over atoms is the sum over bonds.
        count = len(batch["label"])
        own, sending, graph = self.graph.maps()
        mapped = F.linear(sum_by(graph_of_atom, count, atoms), own, self.graph.linear.bias)
        mapped = mapped + F.linear(sum_by(graph_of_atom, count, sent), sending)
        if graphs is not None:
            mapped = mapped + F.linear(graphs, graph)
        return atoms, bonds, self.graph.finish(mapped)


def sum_by(index: Tensor, count: int, x: Tensor) -> Tensor:
    """The rows of `x` summed into `count` rows, row `i` into row `index[i]`."""
    return x.new_zeros(count, x.shape[1]).index_add_(0, index, x)


class Gnn(nn.Module):
    """Three steps (arXiv 1806.01261) and the sigmoid cross entropy over labels that are not missing.

    Reads what `collate` makes: `atoms`, [all atoms, 30], `bonds`, [all bonds, 9], the graph of each atom,
    sender and receiver of each bond in both directions, and `label`, [examples, 16], -1 for missing.
    """

    def __init__(self):
        super().__init__()
        self.atom_embedding = nn.Linear(ATOM, WIDTH)
        self.bond_embedding = nn.Linear(BOND, WIDTH)
        self.steps = nn.ModuleList(
            Step(WIDTH, WIDTH if step else TASKS) for step in range(STEPS)
        )
        self.decoder = nn.Linear(WIDTH, TASKS)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        label = batch["label"]
        atoms = self.atom_embedding(batch["atoms"])
        bonds = self.bond_embedding(batch["bonds"])
        bonds = torch.cat([bonds, bonds])
        graphs = None
        for step in self.steps:
            atoms, bonds, graphs = step(atoms, bonds, graphs, batch)
        logits, present = self.decoder(graphs), (label >= 0).float()
        losses = F.binary_cross_entropy_with_logits(
            logits, label.clamp(min=0).float(), weight=present, reduction="sum"
        )
        return losses / present.sum().clamp(min=1)


def collate(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Graphs one behind the other and without padding, as loaders for PyTorch give them.

    From `atoms`, [examples, most atoms, 30], `bonds`, [examples, most bonds, 9], `links`, [examples, most
    bonds, 2], and `counts`, [examples, 2].
    """
    counts = batch["counts"]
    real_atoms = torch.arange(batch["atoms"].shape[1]) < counts[:, :1]
    real_bonds = torch.arange(batch["bonds"].shape[1]) < counts[:, 1:]
    before = counts[:, 0].cumsum(0) - counts[:, 0]
    a, b = (batch["links"] + before[:, None, None])[real_bonds].unbind(dim=1)
    return {
        "atoms": batch["atoms"][real_atoms],
        "bonds": batch["bonds"][real_bonds],
        "sender": torch.cat([a, b]),
        "receiver": torch.cat([b, a]),
        "graph_of_atom": torch.arange(len(counts)).repeat_interleave(counts[:, 0]),
        "label": batch["label"],
    }
