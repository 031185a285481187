"""The published optimisation, step by step, in the units it was written in.

Everything happens on the ImageNet-normalised image, in float64, with Adam's update written out. The
gradient is automatic; nothing else is shared with the product.
"""

from collections.abc import Callable

import numpy as np
import torch

from tests.reference.jnd import jnd

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]
ALPHA = torch.tensor([0.240803, 0.122658, 0.631579], dtype=torch.float64)[:, None, None]


def activate(
    image: np.ndarray,
    start: np.ndarray,
    target: np.ndarray,
    network: Callable[[torch.Tensor], torch.Tensor],
    *,
    steps: int = 10,
    rate: float = 1.0,
    scaling: float = 3.0,
    lambda_f: float = 1.0,
    lambda_i: float = 1e-2,
    batch: int = 16,
    tanh: bool = True,
    channels: bool = True,
    mask: bool = True,
    loss: str = "cossim",
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Change of one image of a batch.

    Args:
        image: (3, H, W) in [0, 1].
        start: (3, H, W) standard normal numbers.
        target: (D,).
        network: normalised (1, 3, H, W) to descriptors (1, D) of unit norm.

    Returns:
        (3, H, W) change of the pixels in [0, 1] units, and (loss_f, loss_i) before each step.
    """
    x = (torch.from_numpy(image).double() - MEAN) / STD
    heat = torch.from_numpy(jnd(image)) if mask else torch.full(image.shape[1:], 5 / 255, dtype=torch.float64)
    goal = torch.from_numpy(target).double()
    delta = 1e-6 * torch.from_numpy(start).double()
    first, second = torch.zeros_like(delta), torch.zeros_like(delta)
    seen = []

    def perturbed(d: torch.Tensor) -> torch.Tensor:
        bounded = torch.tanh(d) if tanh else d
        return x + scaling * heat * (ALPHA * bounded if channels else bounded)

    for step in range(1, steps + 1):
        variable = delta.clone().requires_grad_(True)
        moved = perturbed(variable)
        descriptor = network(moved[None])[0]
        if loss == "cossim":
            loss_f = -(descriptor @ goal) / (descriptor.norm() * goal.norm())
        else:
            loss_f = ((descriptor - goal) ** 2).sum()
        loss_i = ((moved - x) ** 2).mean()
        ((lambda_f * loss_f + lambda_i * loss_i) / batch).backward()
        seen.append((float(loss_f.detach()), float(loss_i.detach())))
        g = variable.grad
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        unbiased = first / (1 - 0.9**step), second / (1 - 0.999**step)
        delta = delta - rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
    return ((perturbed(delta) - x) * STD).detach().numpy(), seen
