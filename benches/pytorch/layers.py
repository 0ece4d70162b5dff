"""What several models share."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sizes(model: nn.Module) -> int:
    """Number of trainable elements."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[examples, tokens, width] to [examples, heads, tokens, width / heads]."""
    examples, tokens, width = x.shape
    return x.view(examples, tokens, heads, width // heads).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[examples, heads, tokens, each] to [examples, tokens, heads * each]."""
    examples, heads, tokens, each = x.shape
    return x.transpose(1, 2).reshape(examples, tokens, heads * each)


class Attention(nn.Module):
    """Multi-head attention with four linear maps, through PyTorch's fused operation."""

    def __init__(self, width: int, heads: int, bias: bool = True):
        super().__init__()
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        self.heads = heads

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """What `x`, [examples, tokens, width], finds at `memory` (by default itself).

        `mask`, [examples or 1, 1, tokens or 1, seen], is added to the scores.
        """
        memory = x if memory is None else memory
        query, key, value = (
            split_heads(y, self.heads)
            for y in (self.query(x), self.key(memory), self.value(memory))
        )
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal
        )
        return self.output(join_heads(mixed))


class FeedForward(nn.Module):
    """`down(f(up(x)))`."""

    def __init__(self, width: int, hidden: int, activation):
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


def valid(lengths: Tensor, positions: int) -> Tensor:
    """True where a position is below the example's length, [examples, positions]."""
    return torch.arange(positions) < lengths[:, None]


def hidden(seen: Tensor) -> Tensor:
    """What is added to scores, [examples, 1, 1, positions]: 0 where `seen`, [examples, positions], is true."""
    return (~seen).float().mul(-1e9)[:, None, None, :]


def sines(positions: int, width: int) -> Tensor:
    """Sines and then cosines of each position, wavelengths from 2 pi to 20,000 pi; [positions, width]."""
    half = width // 2
    rates = torch.exp(-math.log(1e4) / (half - 1) * torch.arange(half, dtype=torch.float64))
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()
