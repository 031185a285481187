"""What ``bench_activation.py`` compares: methods with settings, each at one PSNR, and the passive arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from active_indexing.activation.config import ActivationConfig
from active_indexing.activation.methods.registry import activation_method

PASSIVE = "passive"
PUBLISHED = "published"
"""The spec that gains are compared with: the published method with its defaults."""

_WITH_COMMAS = ("optimizer", "scheduler")  # settings whose values have commas of their own


_OPTIONAL = {"psnr": float, "iterations": int, "views": int, "entry_views": int}
"""Types of settings whose default is ``None`` and that are no text."""


@dataclass(frozen=True)
class Arm:
    """One way to release a folder of images.

    Attributes:
        spec: the method as it was given, or ``passive``.
        activation: its settings.
    """

    spec: str
    activation: ActivationConfig

    @property
    def active(self) -> bool:
        """Whether images are moved."""
        return self.spec != PASSIVE

    @property
    def psnr(self) -> float | None:
        """Decibels that were asked for, if any."""
        return self.activation.psnr if self.active else None

    @property
    def name(self) -> str:
        """For people: the method and its PSNR."""
        return self.spec if self.psnr is None else f"{self.spec} at {self.psnr:g} dB"

    @property
    def folder(self) -> str:
        """Name of its folder."""
        text = self.spec.replace(":", "-").replace("/", "-")
        return text if self.psnr is None else f"{text}_{self.psnr:g}dB"


def passive_arm() -> Arm:
    """Images as they are."""
    return Arm(PASSIVE, ActivationConfig())


def active_arms(specs: Sequence[str], decibels: Sequence[float]) -> list[Arm]:
    """Every method at every PSNR; a method whose spec says ``psnr`` or ``strength`` is there once.

    Args:
        specs: ``name`` or ``name:key=value,key=value`` with fields of ``ActivationConfig``. ``psnr=none``
            takes what the method gives by itself.
        decibels: of the methods that say none.

    Raises:
        ValueError: an unknown method or setting, a value that does not fit, or one arm twice.
    """
    arms = []
    for spec in specs:
        name, settings = _parsed(spec)
        fixed = "psnr" in settings or "strength" in settings
        for psnr in (None,) if fixed else decibels:
            chosen = settings if fixed else {**settings, "psnr": psnr}
            arms.append(Arm(spec, _checked(spec, ActivationConfig(method=name, **chosen))))
    twice = {arm.name for arm in arms if arms.count(arm) > 1}
    if twice:
        raise ValueError(f"--methods or --psnr holds {', '.join(sorted(twice))} twice; give each once.")
    return arms


def _parsed(spec: str) -> tuple[str, dict[str, Any]]:
    name, _, text = spec.partition(":")
    pairs: list[tuple[str, str]] = []
    known = {field.name: field for field in fields(ActivationConfig) if field.name != "method"}
    for part in text.split(",") if text else []:
        key, equals, value = part.partition("=")
        if pairs and key not in known and pairs[-1][0] in _WITH_COMMAS:
            pairs[-1] = pairs[-1][0], f"{pairs[-1][1]},{part}"
            continue
        if not equals or key not in known:
            raise ValueError(
                f"--methods {spec}: {part!r} is no setting; expected name:key=value,key=value with keys of "
                f"{', '.join(known)}."
            )
        pairs.append((key, value))
    return name, {key: _value(spec, key, value, known[key].default) for key, value in pairs}


def _value(spec: str, key: str, text: str, default: Any) -> Any:
    """The value of one setting, of the type of its default."""
    if text == "none" and default is None:
        return None
    if isinstance(default, bool):
        kinds: Any = {"True": True, "False": False}.__getitem__
    else:
        kinds = _OPTIONAL.get(key, str if default is None else type(default))
    try:
        return kinds(text)
    except (ValueError, KeyError):
        like = kinds(10) if default is None else default
        raise ValueError(
            f"--methods {spec}: {key} can't be {text!r}; expected a value like {like}."
        ) from None


def _checked(spec: str, config: ActivationConfig) -> ActivationConfig:
    try:
        activation_method(config.method).check(config, None)
    except ValueError as error:
        raise ValueError(f"--methods {spec}: {error}") from error
    return config
