"""Transformers on padded sequences of tokens. Each `forward` reads a batch and gives its mean loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers import Attention, FeedForward, hidden, sines

EPSILON = 1e-6


class EncoderLayer(nn.Module):
    """Attention without biases and a feed-forward part, each with a layer norm in front."""

    def __init__(self, width: int, heads: int, feed_forward: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attention = Attention(width, heads, bias=False)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.feed_forward = FeedForward(width, feed_forward, F.relu)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask=mask)
        return x + self.feed_forward(self.norm2(x))


class DecoderLayer(nn.Module):
    """The same with attention to the encoder's output between the two."""

    def __init__(self, width: int, heads: int, feed_forward: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attention = Attention(width, heads, bias=False)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.cross = Attention(width, heads, bias=False)
        self.norm3 = nn.LayerNorm(width, eps=EPSILON)
        self.feed_forward = FeedForward(width, feed_forward, F.relu)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), causal=True)
        x = x + self.cross(self.norm2(x), memory, mask)
        return x + self.feed_forward(self.norm3(x))


class Transformer(nn.Module):
    """An encoder-decoder transformer (arXiv 1706.03762) with layer norms in the branches.

    Reads `source` and `target`, [examples, tokens], filled up with 0.
    """

    def __init__(
        self,
        sources: int = 29,
        targets: int = 42,
        longest: int = 18,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        feed_forward: int = 128,
    ):
        super().__init__()
        self.embedding = nn.Embedding(targets, width)
        self.source_embedding = nn.Embedding(sources, width)
        self.encoder = nn.ModuleList(
            EncoderLayer(width, heads, feed_forward) for _ in range(layers)
        )
        self.encoder_norm = nn.LayerNorm(width, eps=EPSILON)
        self.decoder = nn.ModuleList(
            DecoderLayer(width, heads, feed_forward) for _ in range(layers)
        )
        self.decoder_norm = nn.LayerNorm(width, eps=EPSILON)
        self.register_buffer("positions", sines(longest, width))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        source, target = batch["source"], batch["target"]
        mask = hidden(source != 0)
        x = self.source_embedding(source) + self.positions[: source.shape[1]]
        for layer in self.encoder:
            x = layer(x, mask)
        memory = self.encoder_norm(x)
        # The decoder begins with the token of padding.
        inputs = F.pad(target[:, :-1], (1, 0))
        x = self.embedding(inputs) + self.positions[: target.shape[1]]
        for layer in self.decoder:
            x = layer(x, memory, mask)
        x = self.decoder_norm(x) * x.shape[2] ** -0.5
        logits = F.linear(x, self.embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=0)


class BertLayer(nn.Module):
    """Attention and feed-forward part, each with a layer norm behind the residual sum."""

    def __init__(self, width: int, heads: int, feed_forward: int):
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.feed_forward = FeedForward(width, feed_forward, F.gelu)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, mask=mask))
        return self.norm2(x + self.feed_forward(x))


class TextClassifier(nn.Module):
    """An encoder of MiniLM's size, the mean of its vectors, and a linear map to two classes.

    Reads `tokens`, [examples, n], filled up with 0, and `label`.
    """

    def __init__(self, width: int = 384):
        super().__init__()
        self.words = nn.Embedding(30_522, width)
        self.positions = nn.Parameter(0.02 * torch.randn(512, width))
        self.types = nn.Parameter(0.02 * torch.randn(2, width))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(width, 12, 4 * width) for _ in range(6))
        self.head = nn.Linear(width, 2)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        tokens = batch["tokens"]
        seen = tokens != 0
        mask = hidden(seen)
        x = self.words(tokens) + (self.positions[: tokens.shape[1]] + self.types[0])
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask)
        shares = seen / seen.sum(dim=1, keepdim=True)
        mean = torch.bmm(shares[:, None], x).squeeze(1)
        return F.cross_entropy(self.head(mean), batch["label"])
