"""Rules of layer-wise relevance propagation that lose nothing on the way.

Captum's own rules keep the biases, which swallow relevance; on networks whose batch norms became
biases that is most of it. Here every layer hands on all it gets: what entered at the logit arrives
at the mel. Source: Montavon et al., "Layer-Wise Relevance Propagation: An Overview" (2019).
"""

from __future__ import annotations

from typing import Any

import torch
from captum.attr._utils.lrp_rules import EpsilonRule, IdentityRule
from torch import Tensor, nn

from homeguard.explain.layers import Elementwise
from homeguard.explain.network import Network

_TRACE = 1e-4  # so that a cell fed by the bias alone still hands on what it gets
_STABLE = 1e-18  # added to what is divided by: traces are far above it


class _Shared(EpsilonRule):
    """Relevance over what it is shared out by, in one division; captum's own takes four passes."""

    def _create_backward_hook_output(self, outputs: Tensor) -> Any:  # noqa: ANN401 - captum's signature
        def divided(grad: Tensor) -> Tensor:
            self.relevance_output[grad.device] = grad.data
            return grad / torch.where(outputs == 0, self.STABILITY_FACTOR, outputs)

        return divided


class PlusRule(_Shared):
    """z+: in proportion to activation times positive weight. For layers after a ReLU."""

    def _manipulate_weights(self, module: Any, inputs: Any, outputs: Any) -> None:  # noqa: ANN401 - captum's signature
        del inputs, outputs
        weight = module.weight.data.clamp(min=0)
        module.weight.data = weight + _TRACE * (weight.mean() + _TRACE)
        _drop_bias(module)
        _replace(module, _with_traces)


class SquareRule(_Shared):
    """w²: in proportion to the squared weight alone. For signed input: the first convolution."""

    def _manipulate_weights(self, module: Any, inputs: Any, outputs: Any) -> None:  # noqa: ANN401 - captum's signature
        del inputs, outputs
        module.weight.data = module.weight.data.square() + _TRACE**2
        _drop_bias(module)
        _replace(module, lambda a: _inside(a).expand_as(a))


class ShareRule(EpsilonRule):
    """LRP-0 without the bias: in proportion to activation times weight. For the last layer."""

    def _manipulate_weights(self, module: Any, inputs: Any, outputs: Any) -> None:  # noqa: ANN401 - captum's signature
        del inputs, outputs
        _drop_bias(module)


def attach_rules(network: Network) -> None:
    """Give every layer its rule; captum takes them off again after each use."""
    weighted = network.weighted
    # What lies before the first convolution mixes bands by their power, which has no sign.
    first = next((layer for layer in weighted if isinstance(layer, nn.Conv2d)), weighted[0])
    for layer in network.modules():
        if layer in {first, weighted[-1]} or list(layer.children()):
            continue
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _attach(layer, PlusRule(epsilon=_STABLE))
        elif isinstance(layer, Elementwise):
            _attach(layer, IdentityRule())
        elif not isinstance(layer, nn.ReLU):
            _attach(layer, _Shared(epsilon=_STABLE))
    _attach(weighted[-1], ShareRule())
    _attach(first, SquareRule(epsilon=_STABLE))


def _with_traces(values: Tensor) -> Tensor:
    positive = values.clamp(min=0)
    return positive.add_(_inside(values) * (_TRACE * (values.abs().mean() + _TRACE)))


def _inside(values: Tensor) -> Tensor:
    """1 but for rows and columns of zeros alone: padding, where relevance would be lost.

    For maps (batch, channels, bands, frames) it has one channel.
    """
    if values.dim() != 4:  # noqa: PLR2004 - batch, channels, bands, frames
        return torch.ones_like(values)
    heard = values.abs().sum(dim=1, keepdim=True) != 0
    rows, columns = heard.any(dim=3, keepdim=True), heard.any(dim=2, keepdim=True)
    return (rows & columns).to(values.dtype)


def _attach(layer: nn.Module, rule: EpsilonRule) -> None:
    """As captum does for the layers that it knows."""
    rule.relevance_input, rule.relevance_output = {}, {}
    layer.activations = {}  # type: ignore[assignment]
    layer.rule = rule  # type: ignore[assignment]


def _drop_bias(module: nn.Module) -> None:
    bias = module.bias
    if isinstance(bias, Tensor):
        bias.data = torch.zeros_like(bias.data)


def _replace(module: Any, change: Any) -> None:  # noqa: ANN401 - captum hangs `activations` on a module
    """Let the second pass see other inputs than the first did."""
    for device, inputs in module.activations.items():
        module.activations[device] = tuple(change(values) for values in inputs)
