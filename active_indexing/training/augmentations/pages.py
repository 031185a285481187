"""Pages with panels, bars, icons and paragraphs, to put pictures on as screenshots do.

Random words, colours and shapes at the size of a view; no template of any attack is among them.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

from active_indexing.training.augmentations.drawings import Colour, random_font, random_words

PAGE_SIZE = 208  # pixels; a view of 160 shows 0.6 to 1 of it


def draw_pages(seed: int, count: int) -> torch.Tensor:
    """(count, 3, 208, 208) uint8; 512 of them take 4 seconds and 66 MB."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([_page(rng).transpose(2, 0, 1) for _ in range(count)]))


def _page(rng: np.random.Generator) -> np.ndarray:
    light = rng.random() < 0.7
    tone = rng.integers(225, 256) if light else rng.integers(0, 60)
    ground = tuple(int(c) for c in np.clip(tone + rng.integers(-4, 5, 3), 0, 255))
    image = Image.new("RGB", (PAGE_SIZE, PAGE_SIZE), ground)
    draw = ImageDraw.Draw(image)
    for edge in range(4):
        if rng.random() < 0.55:
            _bar(draw, rng, edge, ground)
    for _ in range(int(rng.integers(1, 8))):
        _panel(draw, rng, ground)
    ink = (40, 40, 40) if light else (215, 215, 215)
    for _ in range(int(rng.integers(2, 10))):
        _paragraph(draw, rng, ink)
    return np.asarray(image)


def _bar(draw: ImageDraw.ImageDraw, rng: np.random.Generator, edge: int, ground: Colour) -> None:
    """Along one edge, with up to seven icons."""
    size, thick = PAGE_SIZE, PAGE_SIZE * rng.uniform(0.02, 0.16)
    left, top, right, bottom = [
        (0, 0, size, thick),
        (0, size - thick, size, size),
        (0, 0, thick, size),
        (size - thick, 0, size, size),
    ][edge]
    fill = _colour(rng) if rng.random() < 0.5 else tuple(int(c * 0.88) for c in ground)
    draw.rectangle((left, top, right, bottom), fill=fill)
    for _ in range(int(rng.integers(0, 8))):
        x, y, radius = rng.uniform(left, right), rng.uniform(top, bottom), rng.uniform(1.5, 5)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x - radius, y - radius, x + radius, y + radius), fill=_colour(rng))


def _panel(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ground: Colour) -> None:
    """A box with round corners, or a rule."""
    left, top = rng.uniform(0, PAGE_SIZE * 0.9, 2)
    width, height = rng.uniform(4, PAGE_SIZE * 0.45, 2)
    colour = _colour(rng) if rng.random() < 0.5 else tuple(int(c * 0.93) for c in ground)
    if rng.random() < 0.6:
        radius = min(width, height) * rng.uniform(0, 0.4)
        fill = colour if rng.random() < 0.6 else None
        outline = _colour(rng) if rng.random() < 0.5 else colour
        box = (left, top, left + width, top + height)
        draw.rounded_rectangle(box, radius=radius, fill=fill, outline=outline)
    else:
        draw.line((left, top, left + width, top), fill=colour)


def _paragraph(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Colour) -> None:
    x, y, size = rng.uniform(0, PAGE_SIZE * 0.85), rng.uniform(0, PAGE_SIZE), float(rng.integers(5, 16))
    fill = ink if rng.random() < 0.75 else _colour(rng)
    for _ in range(int(rng.integers(1, 6))):
        draw.text((x, y), random_words(rng, 5), fill=fill, font=random_font(size))
        y += size * 1.3


def _colour(rng: np.random.Generator) -> Colour:
    return tuple(int(c) for c in rng.integers(0, 256, 3))
