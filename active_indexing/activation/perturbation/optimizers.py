"""Optimizers and learning-rate schedules by name, ``Name,key=value,...``, from torch or timm."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from active_indexing.extras import third_party

TIMM_ALSO = ("Adafactor", "Muon")
"""Optimizers of which timm has its own version. It has to be imported, seconds of work, only for these and
for names that torch doesn't know."""

_WORDS = {"true": True, "false": False, "none": None}

Advance = Callable[[int, float], None]
"""Called after step i (0, 1, ...) with the loss that it saw."""


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split ``Name,key=value,...``.

    Values are Python literals (``1e-2``, ``(0.9, 0.99)``), true, false and none in any case, or else plain
    text; commas inside brackets belong to the value.

    Raises:
        ValueError: no name, or a part that is not key=value.
    """
    name, *parts = _split_outside_brackets(spec)
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{spec!r}: {part!r} is not key=value; write it as in Adam,lr=1e-2.")
        options[key.strip()] = _value(value.strip())
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
    maker = _class_named(name, Optimizer, torch.optim)
    if maker is None or name in TIMM_ALSO:
        timm_optim = third_party("timm.optim", "models")
        maker = _class_named(name, Optimizer, timm_optim) or maker
        if maker is None and name.lower() in timm_optim.list_optimizers():
            # timm's registry also knows short names (adamw, lamb, lion) that are no classes.
            make = timm_optim.create_optimizer_v2
            return _made(spec, make, parameters, opt=name.lower(), **options)
    if maker is None:
        raise ValueError(f"--optimizer {spec!r}: neither torch.optim nor timm.optim has {name!r}.")
    return _made(spec, maker, parameters, **options)


def build_scheduler(spec: str, optimizer: Optimizer) -> Advance:
    """A learning-rate schedule as a function to call after every step.

    Args:
        spec: ``none``, a class of ``torch.optim.lr_scheduler`` or one of ``timm.scheduler``.
        optimizer: whose rate it sets.

    Raises:
        ValueError: unknown name or options it does not take.
    """
    name, options = parse_spec(spec)
    if name.lower() == "none":
        return lambda step, loss: None
    torch_schedulers = torch.optim.lr_scheduler
    torch_class = _class_named(name, torch_schedulers.LRScheduler, torch_schedulers)
    if torch_class is not None:
        schedule = _made(spec, torch_class, optimizer, **options)
        if isinstance(schedule, torch_schedulers.ReduceLROnPlateau):
            return lambda step, loss: schedule.step(loss)
        return lambda step, loss: schedule.step()
    timm_scheduler = third_party("timm.scheduler", "models")
    base = third_party("timm.scheduler.scheduler", "models").Scheduler
    timm_class = _class_named(name, base, timm_scheduler)
    if timm_class is None:
        raise ValueError(
            f"--scheduler {spec!r}: neither torch.optim.lr_scheduler nor timm.scheduler has {name!r}."
        )
    return _timm_advance(_made(spec, timm_class, optimizer, **options))


def _timm_advance(schedule: Any) -> Advance:
    def advance(step: int, loss: float) -> None:
        # timm counts epochs or updates, as the schedule's options say; a step of ours is one of either.
        schedule.step(step + 1, loss)
        schedule.step_update(step + 1, loss)

    return advance


_REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What optimizers and schedules of torch and timm raise for options that make no sense."""


def check_specs(optimizer: str, scheduler: str, iterations: int = 1) -> None:
    """Raise ValueError now if either can't be built, or can't make so many steps on an image."""
    probe = torch.zeros(3, 2, 2, requires_grad=True)

    def closure() -> Tensor:
        built.zero_grad()
        loss = (probe - 1).square().mean()
        loss.backward()
        return loss

    built = build_optimizer(optimizer, [probe])
    advance = build_scheduler(scheduler, built)
    try:
        for step in range(iterations):
            loss: Any = built.step(closure)  # type: ignore[arg-type]  # torch means a Tensor
            advance(step, float(loss.detach()))
    except _REFUSALS as error:
        raise ValueError(
            f"--optimizer {optimizer!r} with --scheduler {scheduler!r} can't optimise an image: {error}"
        ) from error


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _class_named(name: str, base: type, *modules: Any) -> Any:
    for module in modules:
        found = getattr(module, name, None)
        if isinstance(found, type) and issubclass(found, base):
            return found
    return None


def _made(spec: str, maker: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return maker(*arguments, **options)
    except _REFUSALS as error:
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
