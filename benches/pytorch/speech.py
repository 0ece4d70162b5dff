"""Speech recognisers with CTC. Each reads `features`, [examples, frames, 40], `frames`, [examples],
`tokens`, [examples, most], and `lengths`, [examples]; `forward` gives the mean loss."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers import FeedForward, hidden, join_heads, sines, split_heads, valid

Batch = dict[str, Tensor]
MELS, CHANNELS, WIDTH, TOKENS = 40, 16, 64, 29


class Subsample(nn.Module):
    """Two 3x3 convolutions of stride 2 with ReLUs, and a linear map: a quarter of the frames and bands."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(a, CHANNELS, 3, stride=2, padding=1) for a in (1, CHANNELS)
        )
        self.project = nn.Linear(CHANNELS * MELS // 4, WIDTH)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """States, [examples, positions, width]; lengths, [examples]; true where no padding is."""
        x, lengths = batch["features"][:, None], batch["frames"]
        seen = valid(lengths, x.shape[2])
        x = x * seen[:, None, :, None]
        for conv in self.convs:
            x = F.relu(conv(x), inplace=True)
            lengths = (lengths + 1) // 2
            seen = valid(lengths, x.shape[2])
            x = x * seen[:, None, :, None]
        x = self.project(x.transpose(1, 2).flatten(2))
        return x, lengths, seen


class MaskedBatchNorm(nn.Module):
    """Batch norm over the last axis by the mean and variance of what is not padding; padding becomes 0."""

    def __init__(self, share: float = 0.1, epsilon: float = 1e-3):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(WIDTH))
        self.beta = nn.Parameter(torch.zeros(WIDTH))
        self.register_buffer("running_mean", torch.zeros(WIDTH))
        self.register_buffer("running_var", torch.ones(WIDTH))
        self.share, self.epsilon = share, epsilon

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x` of shape [examples, positions, width]; `mask`, [examples, positions, 1], 1 and 0."""
        count = mask.sum().clamp(min=1)
        mean = (x * mask).sum(dim=(0, 1)) / count
        centred = (x - mean) * mask
        variance = (centred * centred).sum(dim=(0, 1)) / count
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean, self.share)
            self.running_var.lerp_(unbiased, self.share)
        return centred * (self.gamma * (variance + self.epsilon).rsqrt()) + self.beta * mask


def ctc(logits: Tensor, positions: Tensor, batch: Batch) -> Tensor:
    """The mean over examples of CTC's loss by the tokens of each; `logits` [examples, positions, tokens]."""
    scores = F.log_softmax(logits, dim=2).transpose(0, 1)
    return F.ctc_loss(scores, batch["tokens"], positions, batch["lengths"], zero_infinity=True)


class BiLstm(nn.Module):
    """An LSTM in each direction; the backward one starts at each example's own end.

    Two LSTMs on padded examples, the backward one's turned round, take less than half the time of
    PyTorch's bidirectional one on packed examples, which leaves oneDNN's path. PyTorch has two biases in
    each, of which one does all that both do; the other one stays 0.
    """

    def __init__(self):
        super().__init__()
        self.ahead = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True)
        self.back = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True)
        for lstm in (self.ahead, self.back):
            nn.init.zeros_(lstm.bias_ih_l0).requires_grad_(False)

    def forward(self, x: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """States of both directions, [examples, positions, width], 0 where `mask` is."""
        places = torch.arange(x.shape[1])
        turned = lengths[:, None] - 1 - places
        order = torch.where(turned >= 0, turned, places)[:, :, None]
        turn = lambda y: y.gather(1, order.expand(y.shape))
        ahead, back = self.ahead(x)[0], turn(self.back(turn(x))[0])
        return torch.cat([ahead, back], dim=2) * mask


class DeepSpeech(nn.Module):
    """Two bidirectional LSTMs and a feed-forward layer, each with a batch norm in front and a sum behind."""

    def __init__(self):
        super().__init__()
        self.subsample = Subsample()
        self.lstms = nn.ModuleList(BiLstm() for _ in range(2))
        self.lstm_norms = nn.ModuleList(MaskedBatchNorm() for _ in range(2))
        self.map_norm = MaskedBatchNorm()
        self.map = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = nn.Linear(WIDTH, TOKENS)

    def forward(self, batch: Batch) -> Tensor:
        x, lengths, seen = self.subsample(batch)
        mask = seen[:, :, None].float()
        for norm, lstm in zip(self.lstm_norms, self.lstms):
            x = x + lstm(norm(x, mask), lengths, mask)
        x = x + F.relu(self.map(self.map_norm(x, mask))) * mask
        return ctc(self.head(self.norm(x)), lengths, batch)


class ScaledAttention(nn.Module):
    """Attention with a learned scale of each component of the queries."""

    def __init__(self, heads: int = 2):
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)
        self.query_scale = nn.Parameter(torch.zeros(WIDTH // heads))
        self.heads = heads

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            split_heads(y, self.heads) for y in (self.query(x), self.key(x), self.value(x))
        )
        query = query * (F.softplus(self.query_scale) / math.log(2))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(join_heads(mixed))


class Convolution(nn.Module):
    """A gate, a depthwise convolution over five positions, a batch norm, SiLU and a linear map."""

    def __init__(self, kernel: int = 5):
        super().__init__()
        self.up = nn.Linear(WIDTH, WIDTH)
        self.gate = nn.Linear(WIDTH, WIDTH)
        self.depthwise = nn.Conv1d(
            WIDTH, WIDTH, kernel, padding=kernel // 2, groups=WIDTH, bias=False
        )
        self.norm = MaskedBatchNorm()
        self.output = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.up(x) * torch.sigmoid(self.gate(x)) * mask
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.output(F.silu(self.norm(x, mask)))


class ConformerBlock(nn.Module):
    """Half a feed-forward part, attention, convolution, the other half, and a layer norm."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(5))
        self.feed_forward1 = FeedForward(WIDTH, 2 * WIDTH, F.silu)
        self.attention = ScaledAttention()
        self.convolution = Convolution()
        self.feed_forward2 = FeedForward(WIDTH, 2 * WIDTH, F.silu)

    def forward(self, x: Tensor, mask: Tensor, scores: Tensor) -> Tensor:
        first, second, third, fourth, last = self.norms
        x = x + 0.5 * self.feed_forward1(first(x))
        x = x + self.attention(second(x), scores)
        x = x + self.convolution(third(x), mask)
        x = x + 0.5 * self.feed_forward2(fourth(x))
        return last(x)


class Conformer(nn.Module):
    """A Conformer (arXiv 2005.08100) of two blocks with fixed positions."""

    def __init__(self):
        super().__init__()
        self.subsample = Subsample()
        self.blocks = nn.ModuleList(ConformerBlock() for _ in range(2))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = nn.Linear(WIDTH, TOKENS)
        self.register_buffer("positions", sines(1024, WIDTH), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        x, lengths, seen = self.subsample(batch)
        x = x + self.positions[: x.shape[1]]
        mask, scores = seen[:, :, None].float(), hidden(seen)
        for block in self.blocks:
            x = block(x, mask, scores)
        return ctc(self.head(self.norm(x)), lengths, batch)
