"""The random chain of edits ("auto"), with the published parameter distributions.

A chain is a few AugLy edits, each from another family. Sampling and applying are separate, so that a
chain can be named, written down and repeated. Parameters keep AugLy's names; fonts, emojis and templates
are named relative to AugLy's folders, so that a chain reads the same on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from active_indexing.attacks import augly_compat
from active_indexing.attacks.edits import expanded_pixels
from active_indexing.attacks.failure import AttackFailed, check_canvas, failures_reported

# Published active_indexing defaults, here and in all the samplers below.
LENGTHS = (1, 2, 3, 4)
LENGTH_PROBABILITIES = (0.1, 0.2, 0.3, 0.4)

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Edit:
    """One edit of a chain.

    Attributes:
        name: function of ``augly.image``.
        params: its arguments as (name, value) pairs; a value is a number, a string, a boolean or a tuple of
            numbers.
    """

    name: str
    params: tuple[tuple[str, Any], ...] = ()


def sample_chain(rng: np.random.Generator) -> tuple[Edit, ...]:
    """Draw 1 to 4 edits from different families; a crop comes first, a palette conversion last.

    Args:
        rng: the only source of randomness, of the edits and of what they do.
    """
    length = rng.choice(LENGTHS, p=LENGTH_PROBABILITIES)
    families = rng.choice(list(FAMILIES), size=length, replace=False)
    edits = [_sample_edit(FAMILIES[family], rng) for family in families]
    return tuple(sorted(edits, key=_place))


def chain_name(edits: tuple[Edit, ...]) -> str:
    """Name of a chain, e.g. ``"crop+rotate"``."""
    return "+".join(edit.name for edit in edits)


def chain_json(edits: tuple[Edit, ...]) -> str:
    """One line of JSON: a list of objects with the name and the parameters of each edit."""
    return json.dumps([{"name": edit.name, **dict(edit.params)} for edit in edits], separators=(",", ":"))


def apply_chain(image: Image.Image, edits: tuple[Edit, ...]) -> Image.Image:
    """Apply the edits one after another; depends on nothing but its arguments.

    Args:
        image: RGB.
        edits: as drawn by :func:`sample_chain`.

    Returns:
        A new RGB image.

    Raises:
        AttackFailed: if one of the edits cannot be applied or leaves no pixel.
    """
    for edit in edits:
        with failures_reported(edit.name, image.size):
            check_canvas(_largest_canvas(edit, image.size))
            edited = augly_compat.call(edit.name, image, **_augly_arguments(edit))
        if 0 in edited.size:
            raise AttackFailed(f"{edit.name} of a {image.width}x{image.height} image: no pixel is left")
        image = edited
    return image


def _brightness(rng: np.random.Generator) -> Parameters:
    return {"factor": rng.uniform(0.1, 1.9)}


def _saturation(rng: np.random.Generator) -> Parameters:
    return {"factor": rng.uniform(2.0, 5.0)}


def _overlay_emoji(rng: np.random.Generator) -> Parameters:
    return {
        "emoji_path": _one_of(augly_compat.emojis(), rng),
        "x_pos": rng.uniform(0.0, 0.8),
        "y_pos": rng.uniform(0.0, 0.8),
        "opacity": rng.uniform(0.5, 1.0),
        "emoji_size": rng.uniform(0.4, 0.8),
    }


def _overlay_text(rng: np.random.Generator) -> Parameters:
    length = rng.integers(5, 15, endpoint=True)
    return {
        "font_file": _one_of(augly_compat.fonts(), rng),
        "text": tuple(rng.integers(0, 10_000, size=length, endpoint=True).tolist()),
        "font_size": rng.uniform(0.1, 0.3),
        "color": _colour(rng),
        "x_pos": rng.uniform(0.0, 0.6),
        "y_pos": rng.uniform(0.0, 0.6),
    }


def _blur(rng: np.random.Generator) -> Parameters:
    return {"radius": rng.uniform(5.0, 10.0)}


def _convert_color(rng: np.random.Generator) -> Parameters:
    # Pillow ignores the number of colours for its fixed web palette (checked on Pillow 13).
    return {"mode": "P", "colors": int(rng.integers(2, 16, endpoint=True))}


def _encoding_quality(rng: np.random.Generator) -> Parameters:
    return {"quality": int(rng.integers(5, 25, endpoint=True))}


def _pixelization(rng: np.random.Generator) -> Parameters:
    return {"ratio": rng.uniform(0.2, 0.5)}


def _shuffle_pixels(rng: np.random.Generator) -> Parameters:
    return {"factor": rng.uniform(0.1, 0.3), "seed": _augly_seed(rng)}


def _crop(rng: np.random.Generator) -> Parameters:
    width, height = rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6)
    left, top = rng.uniform(0.0, 1.0 - width), rng.uniform(0.0, 1.0 - height)
    return {"x1": left, "y1": top, "x2": left + width, "y2": top + height}


def _change_aspect_ratio(rng: np.random.Generator) -> Parameters:
    return {"ratio": rng.uniform(0.5, 2.0)}


def _overlay_onto_screenshot(rng: np.random.Generator) -> Parameters:
    return {"template_filepath": _one_of(("web.png", "mobile.png"), rng), "crop_src_to_fit": True}


def _pad_square(rng: np.random.Generator) -> Parameters:
    return {"color": _colour(rng)}


def _perspective_transform(rng: np.random.Generator) -> Parameters:
    # Sigma is in pixels, so the transform has nothing to keep of many small images; then it fails.
    return {"sigma": rng.uniform(30.0, 60.0), "crop_out_black_border": True, "seed": _augly_seed(rng)}


def _rotate(rng: np.random.Generator) -> Parameters:
    return {"degrees": rng.uniform(-90.0, 90.0)}


def _nothing(rng: np.random.Generator) -> Parameters:
    return {}


Sampler = Callable[[np.random.Generator], Parameters]
FAMILIES: dict[str, dict[str, Sampler]] = {
    "color": {"brightness": _brightness, "grayscale": _nothing, "saturation": _saturation},
    "overlay": {"overlay_emoji": _overlay_emoji, "overlay_text": _overlay_text},
    "pixel-level": {
        "blur": _blur,
        "convert_color": _convert_color,
        "encoding_quality": _encoding_quality,
        "apply_pil_filter": _nothing,
        "pixelization": _pixelization,
        "shuffle_pixels": _shuffle_pixels,
    },
    "spatial": {
        "crop": _crop,
        "hflip": _nothing,
        "change_aspect_ratio": _change_aspect_ratio,
        "overlay_onto_screenshot": _overlay_onto_screenshot,
        "pad_square": _pad_square,
        "perspective_transform": _perspective_transform,
        "rotate": _rotate,
    },
}

_ASSETS: dict[str, Callable[[str], str]] = {
    "emoji_path": augly_compat.emoji_path,
    "font_file": augly_compat.font_path,
    "template_filepath": augly_compat.template_path,
}


def _sample_edit(filters: dict[str, Sampler], rng: np.random.Generator) -> Edit:
    name = _one_of(tuple(filters), rng)
    return Edit(name, tuple(filters[name](rng).items()))


def _one_of(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    # 255 is not drawn: the published program's upper bound is exclusive.
    return tuple(rng.integers(0, 255, size=3).tolist())


def _augly_seed(rng: np.random.Generator) -> int:
    # The published program left AugLy's constants (10 and 42): the same pixels for every image.
    return int(rng.integers(2**32))


def _place(edit: Edit) -> int:
    return {"crop": -1, "convert_color": 1}.get(edit.name, 0)


def _largest_canvas(edit: Edit, size: tuple[int, int]) -> float:
    width, height = size
    params = dict(edit.params)
    if edit.name == "pad_square":
        return max(size) ** 2
    if edit.name == "overlay_emoji":
        return (height * params["emoji_size"]) ** 2
    if edit.name == "rotate":
        return expanded_pixels(size, params["degrees"])
    return width * height


def _augly_arguments(edit: Edit) -> Parameters:
    arguments = dict(edit.params)
    for name, locate in _ASSETS.items():
        if name in arguments:
            arguments[name] = locate(arguments[name])
    if "text" in arguments:
        arguments["text"] = list(arguments["text"])
    return arguments
