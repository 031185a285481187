"""The attacks by name, and the two published lists of them.

Adding an attack is one function in ``edits`` and one line in :data:`EDITS`; from outside, one function of an
RGB image that gives an RGB image: an entry point of ``active_indexing.attacks``, or ``module:function``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from active_indexing.attacks import chain, edits
from active_indexing.attacks.failure import AttackFailed, failures_reported
from active_indexing.attacks.screenshots import check_template
from active_indexing.registry import Registry

AUTO = "auto"  # a random chain that is counted under this one name
RANDOM_CHAIN = "random_chain"  # a random chain that is reported with its own name and parameters

Edit = tuple[Callable[..., Image.Image], tuple[str, ...]]
"""A function of an RGB image, and the names of its parameters."""

_OWN: dict[str, Edit] = {
    "none": (edits.none, ()),
    "meme_format": (edits.meme_format, ()),
    "overlay_onto_screenshot": (edits.overlay_onto_screenshot, ("template",)),
    "rotation": (edits.rotation, ("angle",)),
    "center_crop": (edits.center_crop, ("scale",)),
    "resize": (edits.resize, ("scale",)),
    "blur": (edits.blur, ("kernel_size",)),
    "jpeg": (edits.jpeg, ("quality",)),
    "hue": (edits.hue, ("hue_factor",)),
    "contrast": (edits.contrast, ("contrast_factor",)),
    "brightness": (edits.brightness, ("brightness_factor",)),
    "overlay_emoji": (edits.overlay_emoji, ()),
    "grayscale": (edits.grayscale, ()),
    "hflip": (edits.hflip, ()),
    "vflip": (edits.vflip, ()),
}


def _plugin(function: Any) -> Edit:
    if not callable(function):
        raise TypeError(f"it is a {type(function).__name__}; expected a function of an RGB image")
    return function, ()


EDITS: Registry[Edit] = Registry("attack", _OWN, group="active_indexing.attacks", accept=_plugin)
ATTACKS: dict[str, tuple[str, ...]] = {name: parameters for name, (_, parameters) in _OWN.items()} | {
    AUTO: (),
    RANDOM_CHAIN: (),
}
"""This package's own attacks with the names of their parameters."""


@dataclass(frozen=True)
class PlannedAttack:
    """An attack with all its random choices made.

    Attributes:
        name: of the attack, or of the chain that was drawn, e.g. ``"crop+rotate"``.
        param: text for the CSV: the swept parameter, the JSON of the chain, or empty.
        edit: the function that does it; use :meth:`apply`.
    """

    name: str
    param: str
    edit: Callable[[Image.Image], Image.Image]

    def apply(self, image: Image.Image) -> Image.Image:
        """Attack an RGB image.

        Returns:
            An RGB image of at least one pixel.

        Raises:
            AttackFailed: with the reason; the clean image is never returned in place of an attacked one.
        """
        with failures_reported(self.name, image.size):
            attacked = self.edit(image)
        if 0 in attacked.size:
            raise AttackFailed(f"{self.name} of a {image.width}x{image.height} image: no pixel is left")
        return attacked


@dataclass(frozen=True)
class Attack:
    """One attack of a list; picklable and hashable.

    Attributes:
        name: key of :data:`ATTACKS` or :data:`EDITS`, or ``module:function``.
        params: swept parameters, (name, value) pairs; the CSV shows the first value.
        options: settings that are the same for a whole run, (name, value) pairs; not shown in the CSV.

    Raises:
        ValueError: for a name or a parameter that is not in the registry.
    """

    name: str
    params: tuple[tuple[str, float], ...] = ()
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        parameters = ATTACKS[self.name] if self.name in ATTACKS else EDITS[self.name][1]
        given = [name for name, _ in (*self.params, *self.options)]
        if sorted(given) != sorted(parameters):
            expected = ", ".join(parameters) or "none"
            raise ValueError(f"attack {self.name!r} got parameters {given}, expected: {expected}")

    @property
    def param(self) -> float | None:
        """Value of the swept parameter, or None."""
        return self.params[0][1] if self.params else None

    @property
    def param_text(self) -> str:
        """The parameter as in the CSV: a float, e.g. ``"25.0"``, or empty."""
        return "" if self.param is None else str(float(self.param))

    @property
    def purpose(self) -> str:
        """What keys the attack's random stream, see :func:`active_indexing.seeding.generator_for`."""
        return f"attack/{self.name}/{self.param_text}"

    def plan(self, rng: np.random.Generator) -> PlannedAttack:
        """Make the random choices; attacks that are no chain have none."""
        if self.name in (AUTO, RANDOM_CHAIN):
            drawn = chain.sample_chain(rng)
            edit = partial(chain.apply_chain, edits=drawn)
            if self.name == AUTO:
                return PlannedAttack(AUTO, "", edit)
            return PlannedAttack(chain.chain_name(drawn), chain.chain_json(drawn), edit)
        function, _ = EDITS[self.name]
        edit = partial(function, **dict(self.params), **dict(self.options))
        return PlannedAttack(self.name, self.param_text, edit)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Attack an RGB image; see :meth:`PlannedAttack.apply`."""
        return self.plan(rng).apply(image)


def default_attacks(screenshot_template: str = "web") -> tuple[Attack, ...]:
    """The 15 published attacks, in the published order.

    Args:
        screenshot_template: ``web``, ``mobile`` (the paper's) or an image file, see
            :func:`active_indexing.attacks.screenshots.check_template`, which may raise.
    """
    return (
        Attack("none"),
        Attack(AUTO),
        Attack("meme_format"),
        Attack("overlay_onto_screenshot", options=(("template", check_template(screenshot_template)),)),
        *_sweep("rotation", (25, 90)),
        *_sweep("center_crop", (0.5,)),
        *_sweep("resize", (0.5,)),
        *_sweep("blur", (11,)),
        *_sweep("jpeg", (50,)),
        *_sweep("hue", (0.2,)),
        *_sweep("contrast", (0.5, 2.0)),
        *_sweep("brightness", (0.5, 2.0)),
    )


def attacks_2() -> tuple[Attack, ...]:
    """The published grid of 104 attacks.

    Values are round: 0.3 where the published CSVs show 0.30000000000000004.
    """
    return (
        *_sweep("rotation", range(-90, 91, 10)),
        *_sweep("center_crop", _tenths(1, 10)),
        *_sweep("resize", _tenths(1, 10)),
        *_sweep("blur", range(3, 30, 2)),
        *_sweep("jpeg", range(10, 101, 10)),
        *_sweep("contrast", _tenths(5, 19)),
        *_sweep("brightness", _tenths(5, 19)),
        *_sweep("hue", _tenths(-5, 5)),
    )


def _sweep(name: str, values: Iterable[float]) -> tuple[Attack, ...]:
    (parameter,) = ATTACKS[name]
    return tuple(Attack(name, ((parameter, value),)) for value in values)


def _tenths(first: int, last: int) -> tuple[float, ...]:
    return tuple(tenths / 10 for tenths in range(first, last + 1))
