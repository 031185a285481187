"""The published method: an image moved until its descriptor is near its target.

(Fernandez et al., "Active Image Indexing", ICLR 2023): in units normalised with the ImageNet
statistics, the released image is x + H * (alpha * tanh(delta)), where H is ``scaling`` times the
just-noticeable-difference map and alpha the bounds per channel. Only delta is optimised, to minimise
lambda_f * L_f + lambda_i * L_i: the distance of the descriptor from its target, and the mean squared
perturbation.

The published program averages the loss over its batch. Adam divides a gradient by its root mean square plus
1e-8, and at a photo's size the gradients are near 1e-8, so the divisor shapes the result. Here it is a
setting, ``loss_batch``: an image's result is the same whatever batch it came in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from active_indexing.activation.config import ActivationConfig
from active_indexing.activation.interface import (
    ActivationContext,
    ActivationJob,
    ActivationResult,
    Method,
    Step,
    opacity,
    step_logger,
)
from active_indexing.activation.objectives.losses import DESCRIPTOR_LOSSES
from active_indexing.activation.objectives.targets import check_target, target_rule
from active_indexing.activation.perturbation.jnd import CHANNEL_SCALE, jnd, uniform
from active_indexing.activation.perturbation.optimizers import build_optimizer, build_scheduler, check_specs
from active_indexing.activation.perturbation.scaling import FullPerturbation
from active_indexing.descriptors.preprocessing import IMAGENET_STD
from active_indexing.images import tensors
from active_indexing.index.vector_index import VectorIndex
from active_indexing.seeding import torch_generator_for

Describe = Callable[[Tensor], Tensor]
"""(B, 3, H, W) in [0, 1] -> (B, D), differentiable."""

DELTA_INIT = 1e-6
"""Standard deviation of delta at the start, published active_indexing default."""

STEPS = 10
"""Optimisation steps: published active_indexing default."""


def bounds(pixels: Tensor, config: ActivationConfig) -> Tensor:
    """H * alpha: how far each value may move, in normalised units.

    Args:
        pixels: (3, H, W) RGB in [0, 1].
        config: uses ``scaling``, ``use_attenuation``, ``scale_channels``.

    Returns:
        (3, H, W).
    """
    mask = jnd(pixels) if config.use_attenuation else uniform(pixels)
    channels = CHANNEL_SCALE if config.scale_channels else (1.0, 1.0, 1.0)
    return config.scaling * mask * pixels.new_tensor(channels)[:, None, None]


def published(
    pixels: Tensor,
    target: Tensor,
    describe: Describe,
    config: ActivationConfig,
    generator: torch.Generator,
    opacity: Tensor | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Tensor:
    """Perturb one image with the published algorithm.

    Args:
        pixels: (3, H, W) RGB in [0, 1], as the descriptor sees the image.
        target: (D,) where the descriptor should land.
        describe: the descriptor.
        config: settings.
        generator: CPU generator for the initial delta.
        opacity: (1, H, W) in [0, 1]: how much of the perturbation shows; ``None`` is opaque.
        on_step: called with every step's losses, when given.

    Returns:
        (3, H, W) perturbation to add to the pixels, in units of the pixels; not clamped, not rounded.

    Raises:
        ValueError: the optimizer made it infinite.
    """
    bound = bounds(pixels, config)
    # The published program perturbs images that are normalised with these.
    std = pixels.new_tensor(IMAGENET_STD)[:, None, None]
    start = torch.randn(pixels.shape, generator=generator, dtype=torch.float32)
    delta = (DELTA_INIT * start).to(pixels.device).requires_grad_(True)
    optimizer = build_optimizer(config.optimizer, [delta])
    advance = build_scheduler(config.scheduler, optimizer)
    descriptor_loss = DESCRIPTOR_LOSSES[config.loss_f]

    def normalised() -> Tensor:
        return bound * (torch.tanh(delta) if config.use_tanh else delta)

    def losses() -> tuple[Tensor, Tensor, Tensor]:
        shift = normalised()
        visible = shift if opacity is None else shift * opacity
        described = describe((pixels + visible * std)[None])
        loss_f, loss_i = descriptor_loss(described, target)[0], visible.square().mean()
        return (config.lambda_f * loss_f + config.lambda_i * loss_i) / config.loss_batch, loss_f, loss_i

    seen: list[tuple[float, float, float]] = []  # of this step: some optimizers look several times

    def closure() -> Tensor:
        optimizer.zero_grad()
        total, loss_f, loss_i = losses()
        total.backward()
        seen.append((float(total.detach()), float(loss_f.detach()), float(loss_i.detach())))
        return total

    for step in range(config.iterations or STEPS):
        seen.clear()
        before = normalised().detach() * std if on_step else None
        rate = float(optimizer.param_groups[0]["lr"]) if on_step else 0.0
        optimizer.step(closure)  # type: ignore[arg-type]  # torch means a Tensor
        if on_step and before is not None:
            total, loss_f, loss_i = seen[0]
            on_step(_step(step, (total * config.loss_batch, loss_f, loss_i), before, rate))
        advance(step, seen[0][0])
    if not torch.isfinite(delta).all():
        raise ValueError(
            f"the perturbation diverged with --optimizer {config.optimizer!r} and --scheduler "
            f"{config.scheduler!r}: lower the learning rate, or keep --use_tanh."
        )
    return normalised().detach() * std


def _step(number: int, losses: tuple[float, float, float], shift: Tensor, rate: float) -> Step:
    total, loss_f, loss_i = losses
    error = float(shift.square().mean())
    psnr = float("inf") if error == 0 else -10.0 * float(torch.log10(torch.tensor(error)))
    return Step(number, total, loss_f, loss_i, psnr, 255.0 * float(shift.abs().max()), rate)


def published_results(jobs: Sequence[ActivationJob], context: ActivationContext) -> list[ActivationResult]:
    """The published method, at the image's full size, one image after the other.

    Raises:
        ValueError: the optimisation diverged.
    """
    return [_published(job, context) for job in jobs]


def _published(job: ActivationJob, context: ActivationContext) -> ActivationResult:
    config, device = context.config, context.device
    target = target_rule(config.target)(context.index, job.original[None])[0]
    shift = published(
        tensors.to_tensor(job.srgb).to(device),
        torch.from_numpy(target).to(device),
        context.descriptor,
        config,
        torch_generator_for(context.seed, job.image_id, "delta"),
        opacity=None if job.alpha is None else opacity(job.alpha).to(device),
        on_step=step_logger(context, job),
    )
    if not torch.isfinite(shift).all():
        raise ValueError("the optimisation diverged; lower lr in --optimizer, or --scaling")
    levels = shift.mul_(255).permute(1, 2, 0).contiguous().cpu().numpy()
    return ActivationResult(FullPerturbation(levels), job.original, config.psnr, quality=config.quality)


def _check(config: ActivationConfig, index: VectorIndex | None) -> None:
    check_specs(config.optimizer, config.scheduler, config.iterations or STEPS)
    target_rule(config.target)
    if index is not None:
        check_target(config.target, index)


METHOD = Method(
    published_results,
    steps=STEPS,
    settings=frozenset(
        {
            *("optimizer", "scheduler", "target", "loss_f", "lambda_f", "lambda_i"),
            *("use_attenuation", "scaling", "scale_channels", "use_tanh", "loss_batch"),
        }
    ),
    check=_check,
)
