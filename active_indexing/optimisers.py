"""Optimizers and learning-rate schedules by name, ``Name,key=value,...``, from torch or timm."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import timm.optim
import timm.scheduler
import torch
from torch import Tensor
from torch.optim import Optimizer


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split ``Name,key=value,...``.

    Values are Python literals (``1e-2``, ``True``, ``(0.9, 0.99)``) or else plain text; commas inside
    brackets belong to the value.

    Raises:
        ValueError: no name, or a part that is not key=value.
    """
    name, *parts = _split_outside_brackets(spec)
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{spec!r}: {part!r} is not key=value; write it as in Adam,lr=1e-2.")
        try:
            options[key.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            options[key.strip()] = value.strip()
    if not name.strip():
        raise ValueError(f"{spec!r} names nothing; write it as in Adam,lr=1e-2.")
    return name.strip(), options


def build_optimizer(spec: str, parameters: list[Tensor]) -> Optimizer:
    """An optimizer; a timm class of that name wins over a torch one, as in the published program.

    Args:
        spec: e.g. ``Adam,lr=1e-0``.
        parameters: leaf tensors to optimise.

    Raises:
        ValueError: unknown name or options it does not take.
    """
    name, options = parse_spec(spec)
    maker = _class_named(name, Optimizer, timm.optim, torch.optim)
    if maker is None and name.lower() in timm.optim.list_optimizers():
        # timm's registry also knows short names (adamw, lamb, lion) that are no classes.
        return _made(spec, timm.optim.create_optimizer_v2, parameters, opt=name.lower(), **options)
    if maker is None:
        raise ValueError(f"--optimizer {spec!r}: neither torch.optim nor timm.optim has {name!r}.")
    return _made(spec, maker, parameters, **options)


def build_scheduler(spec: str, optimizer: Optimizer) -> Callable[[int], None]:
    """A learning-rate schedule as a function to call after step i (0, 1, ...).

    Args:
        spec: ``none``, a class of ``torch.optim.lr_scheduler`` or one of ``timm.scheduler``.
        optimizer: whose rate it sets.

    Raises:
        ValueError: unknown name or options it does not take.
    """
    name, options = parse_spec(spec)
    if name.lower() == "none":
        return lambda step: None
    torch_class = _class_named(name, torch.optim.lr_scheduler.LRScheduler, torch.optim.lr_scheduler)
    if torch_class is not None:
        schedule = _made(spec, torch_class, optimizer, **options)
        return lambda step: schedule.step()
    timm_class = _class_named(name, object, timm.scheduler)
    if timm_class is None:
        raise ValueError(
            f"--scheduler {spec!r}: neither torch.optim.lr_scheduler nor timm.scheduler has {name!r}."
        )
    timm_schedule = _made(spec, timm_class, optimizer, **options)
    return lambda step: timm_schedule.step(step + 1)


def check_specs(optimizer: str, scheduler: str) -> None:
    """Raise ValueError now if either can't be built or can't step on an image's perturbation."""
    probe = torch.zeros(3, 2, 2, requires_grad=True)
    built = build_optimizer(optimizer, [probe])
    advance = build_scheduler(scheduler, built)
    probe.grad = torch.ones_like(probe)

    def constant_loss() -> Tensor:
        return probe.detach().sum()

    try:
        built.step(constant_loss)  # type: ignore[arg-type]  # torch means a Tensor
        advance(0)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"--optimizer {optimizer!r} with --scheduler {scheduler!r} can't optimise an image: {error}"
        ) from error


def _class_named(name: str, base: type, *modules: Any) -> Any:
    for module in modules:
        found = getattr(module, name, None)
        if isinstance(found, type) and issubclass(found, base):
            return found
    return None


def _made(spec: str, maker: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return maker(*arguments, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"{spec!r} can't be made: {error}") from error


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
