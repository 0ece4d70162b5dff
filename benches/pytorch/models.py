"""Models on images, features and plain texts. Each `forward` reads a batch and gives its mean loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers import Attention, FeedForward

Batch = dict[str, Tensor]


class Mlp(nn.Module):
    """A multilayer perceptron. Reads `image`, [examples, 64], and `label`."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
        )

    def forward(self, batch: Batch) -> Tensor:
        return F.cross_entropy(self.layers(batch["image"]), batch["label"])


def convolution(a: int, b: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(a, b, kernel, stride=stride, padding=kernel // 2, bias=False)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norms behind them (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, a: int, b: int, stride: int):
        super().__init__()
        self.conv1 = convolution(a, b, 3, stride)
        self.norm1 = nn.BatchNorm2d(b)
        self.conv2 = convolution(b, b, 3)
        self.norm2 = nn.BatchNorm2d(b)
        changes = (a, stride) != (b, 1)
        self.shortcut = (
            nn.Sequential(convolution(a, b, 1, stride), nn.BatchNorm2d(b)) if changes else None
        )

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(self.conv1(x)), inplace=True)
        h = self.norm2(self.conv2(h))
        joined = x if self.shortcut is None else self.shortcut(x)
        return F.relu(h + joined, inplace=True)


class ResNet(nn.Module):
    """Stages of 12, 24 and 48 channels. Reads `image`, [examples, 1, 28, 28], and `label`."""

    def __init__(self):
        super().__init__()
        self.stem = convolution(1, 12, 5, 2)
        self.stem_norm = nn.BatchNorm2d(12)
        self.blocks = nn.Sequential(
            ResidualBlock(12, 12, 1), ResidualBlock(12, 24, 2), ResidualBlock(24, 48, 2)
        )
        self.head = nn.Linear(48, 10)

    def forward(self, batch: Batch) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(batch["image"])), inplace=True)
        x = self.blocks(x).mean(dim=(2, 3))
        return F.cross_entropy(self.head(x), batch["label"])


class TransformerBlock(nn.Module):
    """Attention and feed-forward part, each with a layer norm in front."""

    def __init__(self, width: int, heads: int, hidden: int, activation, epsilon: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=epsilon)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = FeedForward(width, hidden, activation)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        x = x + self.attention(self.norm1(x), causal=causal)
        return x + self.feed_forward(self.norm2(x))


class Vit(nn.Module):
    """A vision transformer with fixed positions and the mean over patches (arXiv 2205.01580).

    Reads `image`, [examples, 1, 28, 28], and `label`.
    """

    def __init__(self, width: int = 64, layers: int = 3):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, stride=7)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, 2, 128, F.gelu, 1e-6) for _ in range(layers)
        )
        self.final_norm = nn.LayerNorm(width, eps=1e-6)
        self.representation = nn.Linear(width, width)
        self.head = nn.Linear(width, 10)
        quarter = width // 4
        frequencies = 1e4 ** (-torch.arange(quarter) / (quarter - 1))
        angles = torch.arange(4)[:, None] * frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        # Patch by patch, row by row: the waves of the column, then those of the row.
        positions = torch.cat([waves.repeat(4, 1), waves.repeat_interleave(4, dim=0)], dim=1)
        self.register_buffer("positions", positions)

    def embed(self, images: Tensor) -> Tensor:
        """The patches as tokens, [examples, 16, width]: a convolution whose windows do not overlap is one
        product of matrices."""
        x = images.view(-1, 4, 7, 4, 7).transpose(2, 3).reshape(-1, 16, 49)
        return F.linear(x, self.patches.weight.flatten(1), self.patches.bias)

    def forward(self, batch: Batch) -> Tensor:
        x = self.embed(batch["image"]) + self.positions
        for block in self.blocks:
            x = block(x)
        x = self.final_norm(x).mean(dim=1)
        logits = self.head(torch.tanh(self.representation(x)))
        return F.cross_entropy(logits, batch["label"])


class Dlrm(nn.Module):
    """A network on real features, one embedding table, dot products, and a network on top.

    Reads `dense`, [examples, 5], `category`, [examples, 10], and `label`.
    """

    def __init__(self, rows: int):
        super().__init__()
        self.embedding = nn.Embedding(rows, 16)
        self.bottom = self._layers(5, 256, 128, 16)
        vectors = 1 + 10
        self.top = self._layers(16 + vectors * (vectors + 1) // 2, 1024, 512, 256)
        self.head = nn.Linear(256, 1)
        row, column = torch.triu_indices(vectors, vectors)
        self.register_buffer("upper", row * vectors + column)

    @staticmethod
    def _layers(*widths: int) -> nn.Sequential:
        pairs = zip(widths, widths[1:])
        return nn.Sequential(*(part for a, b in pairs for part in (nn.Linear(a, b), nn.ReLU())))

    def forward(self, batch: Batch) -> Tensor:
        x = self.bottom(batch["dense"])
        vectors = torch.cat([x[:, None], self.embedding(batch["category"])], dim=1)
        dots = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        x = torch.cat([x, dots.index_select(1, self.upper)], dim=1)
        logits = self.head(self.top(x)).squeeze(1)
        return F.binary_cross_entropy_with_logits(logits, batch["label"].float())


class Gpt(nn.Module):
    """A causal transformer. Reads `tokens`, [examples, n + 1]; predicts the last n of them, or the last."""

    def __init__(
        self,
        vocabulary: int,
        context: int,
        width: int,
        heads: int,
        layers: int,
        last_only: bool = False,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.05 * torch.randn(context, width))
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, 4 * width, F.relu, 1e-5) for _ in range(layers)
        )
        self.final_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.last_only = last_only

    def forward(self, batch: Batch) -> Tensor:
        tokens = batch["tokens"]
        inputs, labels = tokens[:, :-1], tokens[:, 1:]
        x = self.embedding(inputs) + self.positions[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x, causal=True)
        logits = self.head(self.final_norm(x))
        if self.last_only:
            logits, labels = logits[:, -1:], labels[:, -1:]
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


class UNetBlock(nn.Module):
    """Two 3x3 convolutions, each with an instance norm and a leaky ReLU."""

    def __init__(self, a: int, b: int):
        super().__init__()
        self.conv1 = convolution(a, b, 3)
        self.conv2 = convolution(b, b, 3)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2):
            x = F.leaky_relu(F.instance_norm(conv(x)), 0.2, inplace=True)
        return x


class UNet(nn.Module):
    """A U-Net with three poolings and 8 channels at full size.

    Reads `input` and `target`, [examples, 64, 64].
    """

    def __init__(self, channels: int = 8, pools: int = 3):
        super().__init__()
        widths = [channels << level for level in range(pools + 1)]
        self.down = nn.ModuleList(UNetBlock(a, b) for a, b in zip([1, *widths], widths[:-1]))
        self.bottom = UNetBlock(widths[-2], widths[-1])
        rising = widths[-2::-1]
        self.rises = nn.ModuleList(
            nn.ConvTranspose2d(2 * w, w, 2, stride=2, bias=False) for w in rising
        )
        self.up = nn.ModuleList(UNetBlock(2 * w, w) for w in rising)
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, batch: Batch) -> Tensor:
        x = batch["input"][:, None]
        skipped = []
        for block in self.down:
            x = block(x)
            skipped.append(x)
            x = F.avg_pool2d(x, 2)
        x = self.bottom(x)
        for rise, block in zip(self.rises, self.up):
            risen = F.leaky_relu(F.instance_norm(rise(x)), 0.2, inplace=True)
            x = block(torch.cat([risen, skipped.pop()], dim=1))
        return F.l1_loss(self.head(x).squeeze(1), batch["target"])
