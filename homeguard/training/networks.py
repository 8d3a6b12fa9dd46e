"""The CNNs over log-mels: the table's network of S0 and a better small one, same in- and output.

Input (batch, 1, 80, frames), frames free; output logits (batch, 19) in the order of `Category`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from homeguard.labels import Category

Architecture = Literal["s0", "compact"]


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


def network(architecture: Architecture) -> S0Cnn | CompactCnn:
    """A fresh network by its name."""
    return S0Cnn() if architecture == "s0" else CompactCnn()


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


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
