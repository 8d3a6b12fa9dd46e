"""Layers that torch has not, each a module so that a rule of relevance can be hung on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn


class Mean(nn.Module):
    """The mean over some axes, as a layer that relevance passes in proportion."""

    def __init__(self, axes: Sequence[int], *, keep: bool) -> None:
        super().__init__()
        self._axes, self._keep = tuple(axes), keep

    def forward(self, values: Tensor) -> Tensor:
        """The mean."""
        return values.mean(self._axes, keepdim=self._keep)


class Most(nn.Module):
    """The maximum over some axes; of a tie one takes it all, as in a pool."""

    def __init__(self, axes: Sequence[int], *, keep: bool) -> None:
        super().__init__()
        self._axes, self._keep = tuple(axes), keep

    def forward(self, values: Tensor) -> Tensor:
        """The maximum."""
        for axis in sorted((axis % values.dim() for axis in self._axes), reverse=True):
            values = values.max(dim=axis, keepdim=self._keep).values
        return values


class Attention(nn.Softmax):
    """A softmax over frames: which of them a head reads."""


class Elementwise(nn.Module):
    """Something done to every element with a constant; relevance passes it unchanged."""

    def __init__(self, do: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._do = do

    def forward(self, values: Tensor) -> Tensor:
        """What it does."""
        return self._do(values)


class Padded(nn.Module):
    """A convolution whose sides are padded differently."""

    def __init__(self, convolution: nn.Conv2d, around: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.convolution = convolution
        self._around = around

    def forward(self, values: Tensor) -> Tensor:
        """What the convolution gives."""
        found: Tensor = self.convolution(nn.functional.pad(values, self._around))
        return found


class Transposed(nn.Module):
    """A linear layer over the axis before the last."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, values: Tensor) -> Tensor:
        """What the linear gives, turned back."""
        turned: Tensor = self.linear(values.transpose(-1, -2)).transpose(-1, -2)
        return turned
