"""The linear layer at the end of a network, taken off and put back."""

from __future__ import annotations

import copy

from torch import nn


def last_layer(network: nn.Module) -> tuple[str, nn.Linear]:
    """Name and layer of the projection: ``fc``, or ``classifier`` of torchvision's light networks.

    Raises:
        ValueError: if the network ends in anything else.
    """
    name = "fc" if hasattr(network, "fc") else "classifier"
    layer = getattr(network, name, None)
    if not isinstance(layer, nn.Linear):
        raise ValueError(f"{type(network).__name__} ends in no linear layer; its heads can't be merged.")
    return name, layer


def without_last(network: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """The network up to its last layer, in place, and that layer."""
    name, layer = last_layer(network)
    setattr(network, name, nn.Identity())
    return network, layer


def with_last(network: nn.Module, layer: nn.Linear) -> nn.Module:
    """A copy of a network that ends in another layer; its own may have been taken off."""
    result = copy.deepcopy(network)
    setattr(result, "fc" if hasattr(result, "fc") else "classifier", layer)
    return result
