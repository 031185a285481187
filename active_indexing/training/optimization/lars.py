"""LARS: SGD with momentum whose step is scaled, tensor by tensor, to the size of the weights.

[LARS] You et al., "Large Batch Training of Convolutional Networks", 2017. Constants and the order of
operations are those with which the published SSCD descriptors were trained (lightning-bolts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

TRUST = 0.001
EPSILON = 1e-8


class LARS(Optimizer):
    """v <- momentum * v + g', w <- w - lr * v, with g' = trust*|w| / (|g| + decay*|w| + eps) * (g + decay*w).

    A tensor whose weights or gradient are all zero (a zero-initialised batch norm gain at step 0) is updated
    with its raw gradient. v starts as the first g'.

    Args:
        params: parameters or groups.
        lr: learning rate; 0.3 * batch / 256 in SSCD.
        momentum: 0.9 in SSCD.
        weight_decay: 1e-6 in SSCD, biases and batch norms included.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, momentum: float = 0.9, weight_decay: float = 1e-6
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        return loss

    def _update(self, weight: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        norm, gradient_norm = weight.norm(), gradient.norm()
        local = TRUST * norm / (gradient_norm + decay * norm + EPSILON)
        usable = (norm > 0) & (gradient_norm > 0)
        step = torch.where(usable, local * (gradient + decay * weight), gradient)
        state = self.state[weight]
        if "velocity" in state:
            state["velocity"].mul_(group["momentum"]).add_(step)
        else:
            state["velocity"] = step.clone()
        weight.sub_(state["velocity"], alpha=group["lr"])
