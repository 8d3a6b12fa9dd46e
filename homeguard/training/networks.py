"""The CNNs over log-mels: the table's network of S0 and a better small one, same in- and output.

Input (batch, 1, 80, frames), frames free; output logits (batch, 19) in the order of `Category`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from homeguard.labels import Category
from homeguard.mel import band_edges_hz

_TINY = 1e-12  # keeps the root's slope finite
Architecture = Literal["s0", "compact", "mobile"]


class S0Cnn(nn.Module):
    """University of Seoul's table: five convolutions, three linears, 353,619 parameters.

    Their last pool is 1x2 on 5x6 at 3,000 frames. Here it is an adaptive one to 5x3, the same at
    that length, so that the network takes any other.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        # Paddings in time that give the table's widths: 1500, 376, 94, 25, 6.
        paddings = ((1, 1), (1, 2), (1, 1), (1, 2), (1, 1))
        channels = (1, 8, 16, 32, 64, 128)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(taken, given, 3, stride=(1, 2), padding=padding)
            for taken, given, padding in zip(channels[:-1], channels[1:], paddings, strict=True)
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(1920, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(64, len(Category)),
        )

    def maps(self, log_mel: Tensor) -> Tensor:
        """Feature maps before the last pool, (batch, 128, 5, frames / 512 or so)."""
        maps = log_mel
        for index, convolution in enumerate(self.convolutions):
            maps = torch.relu(convolution(maps))
            if index + 1 < len(self.convolutions):
                maps = nn.functional.max_pool2d(maps, 2)
        return maps

    def classify(self, maps: Tensor) -> Tensor:
        """Logits of feature maps."""
        logits: Tensor = self.head(_pool_time(maps, 3))
        return logits

    def forward(self, log_mel: Tensor) -> Tensor:
        """Logits of log-mels."""
        return self.classify(self.maps(log_mel))


class CompactCnn(nn.Module):
    """Eight 3x3 convolutions with batch norm, mean over bands, mean and maximum over time.

    1.2 M parameters; after Kong et al. 2020 (PANNs' CNN10), thinner and strided early to be cheap.
    """

    FEATURES = 256

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        # (channels taken, given, stride in both directions)
        blocks = (
            (1, 16, 2),
            (16, 32, 2),
            (32, 64, 2),
            (64, 64, 1),
            (64, 128, 2),
            (128, 128, 1),
            (128, 256, 2),
            (256, self.FEATURES, 1),
        )
        self.body = nn.Sequential(*(_block(*block) for block in blocks))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * self.FEATURES, len(Category)))

    def maps(self, log_mel: Tensor) -> Tensor:
        """Feature maps of the last convolution, (batch, 256, 3, frames / 32 or so)."""
        maps: Tensor = self.body(log_mel)
        return maps

    def classify(self, maps: Tensor) -> Tensor:
        """Logits of feature maps."""
        over_time = maps.mean(dim=2)
        pooled = torch.cat([over_time.mean(dim=2), over_time.amax(dim=2)], dim=1)
        logits: Tensor = self.head(pooled)
        return logits

    def forward(self, log_mel: Tensor) -> Tensor:
        """Logits of log-mels."""
        return self.classify(self.maps(log_mel))


class Front(nn.Module):
    """Whisper's 80 bands of scaled log power to 64 bands of log magnitude, YAMNet's input.

    `bands` is the logarithm of how much of each of our bands is in each of theirs; it is fitted,
    then trained.
    """

    BANDS = 64
    FLOOR = 0.001  # YAMNet's own, added before its logarithm

    def __init__(self) -> None:
        super().__init__()
        theirs_hz = 700.0 * (
            torch.exp(torch.linspace(_htk_mel(125.0), _htk_mel(7500.0), self.BANDS + 2) / 1127.0)
            - 1.0
        )
        ours_hz = torch.from_numpy(band_edges_hz().copy()).float()[1:-1]
        rising = (ours_hz - theirs_hz[:-2, None]) / (theirs_hz[1:-1] - theirs_hz[:-2])[:, None]
        falling = (theirs_hz[2:, None] - ours_hz) / (theirs_hz[2:] - theirs_hz[1:-1])[:, None]
        near = torch.minimum(rising, falling).clamp(min=1e-3)
        # Our bands hold mean power over 40 Hz bins, theirs the sum of magnitudes over 31.25 Hz.
        width_hz = (theirs_hz[2:] - theirs_hz[:-2])[:, None]
        share = near / near.sum(dim=1, keepdim=True) * 40.0**0.5 * width_hz / 62.5
        self.bands = nn.Parameter(torch.log(share))

    def forward(self, log_mel: Tensor) -> Tensor:
        """(batch, 1, 80, frames) to (batch, 1, 64, frames)."""
        # Whisper's scale taken back: power = 10 ** (4 x - 4), magnitude its root.
        magnitude = torch.pow(10.0, 2.0 * log_mel[:, 0].float() - 2.0)
        mixed = torch.exp(self.bands) @ magnitude
        return torch.log(mixed + self.FLOOR)[:, None]


class MobileCnn(nn.Module):
    """MobileNet v1 over a window, its convolutions those of YAMNet (Howard et al. 2017).

    Batch norm is folded into the convolutions, as in YAMNet's file. Features are averaged over
    bands and about a second (three places in time, YAMNet's frame), then mean and maximum over
    time are classified. 3.2 M parameters.
    """

    FEATURES = 1024
    # (channels given, stride) of the separable layers after the first convolution.
    _LAYERS = (
        *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
        *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
    )

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.front = Front()
        taken = 32
        layers: list[nn.Module] = [nn.Sequential(_Same(1, taken, 2))]
        for given, stride in self._LAYERS:
            depthwise = _Same(taken, taken, stride, groups=taken)
            layers.append(nn.Sequential(depthwise, nn.Conv2d(taken, given, 1)))
            taken = given
        self.convolutions = nn.ModuleList(layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * self.FEATURES, len(Category)))

    def maps(self, log_mel: Tensor) -> Tensor:
        """Feature maps of the last convolution, (batch, 1024, 2, frames / 32 or so)."""
        maps: Tensor = self.front(log_mel)
        for layer in self.convolutions:
            for convolution in layer:
                maps = torch.relu(convolution(maps))
        return maps

    def classify(self, maps: Tensor) -> Tensor:
        """Logits of feature maps."""
        seconds = nn.functional.avg_pool1d(maps.mean(dim=2), 3, stride=1)
        pooled = torch.cat([seconds.mean(dim=2), seconds.amax(dim=2)], dim=1)
        logits: Tensor = self.head(pooled)
        return logits

    def forward(self, log_mel: Tensor) -> Tensor:
        """Logits of log-mels."""
        return self.classify(self.maps(log_mel))


def filter_likeness(model: nn.Module) -> Tensor:
    """How much the filters of a network's convolutions look alike: 0 where all are orthogonal.

    For the filters w_i of a layer sqrt(sum over i < j of (w_i . w_j)^2), summed over the layers:
    the corregularization of S0 part 3, to be weighted and added to a loss. Depthwise layers, whose
    filters see different channels, are left out.
    """
    total = torch.zeros((), device=next(model.parameters()).device)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            filters = layer.weight.flatten(1)
            products = torch.triu(filters @ filters.T, diagonal=1)
            total = total + (products.square().sum() + _TINY).sqrt()
    return total


def network(architecture: Architecture) -> S0Cnn | CompactCnn | MobileCnn:
    """A fresh network by its name."""
    if architecture == "s0":
        return S0Cnn()
    return CompactCnn() if architecture == "compact" else MobileCnn()


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


class _Same(nn.Conv2d):
    """3x3 with TensorFlow's padding: at stride 2 one row and column after the end, none before."""

    def __init__(self, taken: int, given: int, stride: int, groups: int = 1) -> None:
        super().__init__(taken, given, 3, stride=stride, groups=groups)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve."""
        around = (0, 1, 0, 1) if self.stride[0] == 2 else (1, 1, 1, 1)  # noqa: PLR2004 - the number says itself
        padded: Tensor = super().forward(nn.functional.pad(maps, around))
        return padded


def _htk_mel(hz: float) -> float:
    return 1127.0 * math.log1p(hz / 700.0)


def _block(taken: int, given: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(taken, given, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(given),
        nn.ReLU(),
    )


def _pool_time(maps: Tensor, bins: int) -> Tensor:
    # Adaptive max pooling, which the ONNX exporter lacks for a free length: each column `bins`
    # times, then cut into `bins` runs of `width` columns.
    batch, channels, bands, width = maps.shape
    repeated = maps.unsqueeze(-1).expand(batch, channels, bands, width, bins)
    return repeated.reshape(batch, channels, bands, bins, width).amax(dim=-1)
