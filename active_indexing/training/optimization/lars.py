"""LARS: SGD with momentum whose step is scaled, tensor by tensor, to the size of the weights.

[LARS] You et al., "Large Batch Training of Convolutional Networks", 2017. timm's optimizer with the constants
with which the published SSCD descriptors were trained (lightning-bolts).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer

MOMENTUM = 0.9
TRUST = 0.001
EPSILON = 1e-8


def lars(parameters: Iterable[Any], lr: float, weight_decay: float = 1e-6) -> Optimizer:
    """V <- 0.9 v + g', w <- w - lr v, with g' = trust |w| / (|g| + decay |w| + eps) (g + decay w).

    As published, a tensor that is all zero takes its raw gradient, and with ``weight_decay`` 0 every tensor
    does: plain SGD. Where a gradient is all zero timm still decays the weights (by lr x decay), which
    lightning-bolts did not.

    Args:
        parameters: parameters or groups.
        lr: learning rate; 0.3 * batch / 256 in SSCD.
        weight_decay: 1e-6 in SSCD, biases and batch norms included.
    """
    timm_optim: Any = importlib.import_module("timm.optim")
    made: Optimizer = timm_optim.Lars(
        parameters, lr=lr, momentum=MOMENTUM, weight_decay=weight_decay, trust_coeff=TRUST, eps=EPSILON
    )
    made.register_load_state_dict_pre_hook(_with_timms_names)
    return made


def _with_timms_names(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """The state of a checkpoint, also of one from before this was timm's optimizer."""
    names = {"velocity": "momentum_buffer"}
    moments = {
        key: {names.get(name, name): value for name, value in each.items()}
        for key, each in state["state"].items()
    }
    groups = [{**optimizer.defaults, **group} for group in state["param_groups"]]
    return {**state, "state": moments, "param_groups": groups}
