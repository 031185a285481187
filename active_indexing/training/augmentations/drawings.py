"""Clutter drawn once, before training: strips of text, stickers, and pages to put pictures on.

Random words, colours and shapes: no template, emoji or caption of any attack is among them.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

LETTERS = string.ascii_letters * 3 + string.digits + "!?.,'-&#"
TEXT_SIZE = (48, 96)  # height and width of a strip, pixels
STICKER_SIZE = 48
PAGE_SIZE = 96
Colour = tuple[int, ...]


@dataclass(frozen=True)
class Drawings:
    """All that was drawn, uint8.

    Attributes:
        texts: (N, 1, 48, 96) opacity of letters.
        stickers: (N, 4, 48, 48) RGB and opacity.
        pages: (N, 3, 96, 96) RGB.
    """

    texts: torch.Tensor
    stickers: torch.Tensor
    pages: torch.Tensor

    def to(self, device: torch.device) -> Drawings:
        """The same on a device."""
        return Drawings(self.texts.to(device), self.stickers.to(device), self.pages.to(device))


def draw_all(seed: int, count: int = 512) -> Drawings:
    """Draw ``count`` of each kind (three quarters as many pages).

    512 of each take under 3 seconds and 7 MB.
    """
    rng = np.random.default_rng(seed)
    return Drawings(
        texts=_stack([_text(rng)[None] for _ in range(count)]),
        stickers=_stack([_sticker(rng).transpose(2, 0, 1) for _ in range(count)]),
        pages=_stack([_page(rng).transpose(2, 0, 1) for _ in range(max(1, count * 3 // 4))]),
    )


def _stack(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images))


@lru_cache(maxsize=64)
def random_font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's embedded font; unpacking it takes longer than drawing with it."""
    return ImageFont.load_default(size)


def _word(rng: np.random.Generator) -> str:
    return "".join(LETTERS[int(i)] for i in rng.integers(0, len(LETTERS), rng.integers(2, 9)))


def random_words(rng: np.random.Generator, most: int) -> str:
    """One to ``most`` words of random letters."""
    return " ".join(_word(rng) for _ in range(rng.integers(1, most + 1)))


def _colour(rng: np.random.Generator) -> Colour:
    return tuple(int(c) for c in rng.integers(0, 256, 3))


def _box(rng: np.random.Generator, size: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a uniform box in a square of ``size`` pixels."""
    low, high = np.sort(rng.uniform(0, size - 1, (2, 2)), axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _text(rng: np.random.Generator) -> np.ndarray:
    """One to three lines in the font that Pillow embeds."""
    height, width = TEXT_SIZE
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    lines = int(rng.choice([1, 1, 2, 3]))
    font = random_font(int(height / lines * rng.uniform(0.6, 1.0)))
    for line in range(lines):
        words = random_words(rng, 3)
        words = words.upper() if rng.random() < 0.5 else words
        draw.text((rng.uniform(0, 0.3) * width, line * height / lines), words, fill=255, font=font)
    return np.asarray(image)


def _sticker(rng: np.random.Generator) -> np.ndarray:
    image = Image.new("RGBA", (STICKER_SIZE, STICKER_SIZE))
    draw = ImageDraw.Draw(image)
    kinds: list[Callable[[ImageDraw.ImageDraw, np.random.Generator], None]]
    kinds = [_face, _face, _star, _label, _blobs]
    kinds[rng.integers(len(kinds))](draw, rng)
    return np.asarray(image)


def _face(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    size = STICKER_SIZE
    yellow = (255, int(rng.integers(180, 225)), int(rng.integers(40, 100)))
    draw.ellipse((1, 1, size - 2, size - 2), fill=_colour(rng) if rng.random() < 0.4 else yellow)
    ink = _colour(rng) if rng.random() < 0.3 else (60, 40, 20)
    y, half = size * rng.uniform(0.3, 0.42), size * rng.uniform(0.04, 0.1)
    apart, tall = size * rng.uniform(0.15, 0.25), half * rng.uniform(0.6, 1.8)
    for x in (size / 2 - apart, size / 2 + apart):
        draw.ellipse((x - half, y - tall, x + half, y + tall), fill=ink)
    mouth = size * rng.uniform(0.15, 0.3)
    box = (size / 2 - mouth, size * 0.45, size / 2 + mouth, size * rng.uniform(0.65, 0.85))
    draw.chord(box, 0, 180 + rng.uniform(-20, 20), fill=ink)


def _star(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    points, turn = int(rng.integers(3, 10)), rng.uniform(0, 2 * math.pi)
    radii = STICKER_SIZE * 0.48 * np.where(np.arange(2 * points) % 2, rng.uniform(0.35, 1), 1.0)
    angles = turn + np.arange(2 * points) * math.pi / points
    xy = STICKER_SIZE / 2 + np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    draw.polygon([(float(x), float(y)) for x, y in xy], fill=_colour(rng))


def _label(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    size = STICKER_SIZE
    box = (2, size * rng.uniform(0, 0.3), size - 3, size * rng.uniform(0.7, 1) - 1)
    draw.rounded_rectangle(box, size * 0.15, fill=_colour(rng))
    font = random_font(size * 0.35)
    draw.text((6, size * 0.3), _word(rng), fill=_colour(rng), font=font)


def _blobs(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(2, 6))):
        draw.ellipse(_box(rng, STICKER_SIZE), fill=_colour(rng))


def _page(rng: np.random.Generator) -> np.ndarray:
    """Bars along the edges, boxes and rules, lines of text, on a light or a dark ground."""
    light = rng.random() < 0.7
    tone = rng.integers(225, 250) if light else rng.integers(0, 60)
    ground = tuple(int(c) for c in np.clip(tone + rng.integers(0, 6, 3), 0, 255))
    image = Image.new("RGB", (PAGE_SIZE, PAGE_SIZE), ground)
    draw = ImageDraw.Draw(image)
    _bars(draw, rng, ground)
    for _ in range(int(rng.integers(2, 9))):
        left, top, right, bottom = _box(rng, PAGE_SIZE)
        colour = _colour(rng)
        if rng.random() < 0.5:
            filling = colour if rng.random() < 0.6 else None
            low = (left + (right - left) * 0.6, top + (bottom - top) * 0.6)
            draw.rectangle((left, top, *low), fill=filling, outline=colour)
        else:
            draw.line((left, top, right, top), fill=colour)
    ink = (40, 40, 40) if light else (210, 210, 210)
    for _ in range(int(rng.integers(4, 16))):
        place = (rng.uniform(0, PAGE_SIZE * 0.8), rng.uniform(0, PAGE_SIZE))
        fill = ink if rng.random() < 0.7 else _colour(rng)
        draw.text(place, random_words(rng, 4), fill=fill, font=random_font(float(rng.integers(4, 13))))
    return np.asarray(image)


def _bars(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ground: Colour) -> None:
    size = PAGE_SIZE
    for edge in range(4):
        thick = size * rng.uniform(0.03, 0.15)
        boxes = [
            (0, 0, size, thick),
            (0, size - thick, size, size),
            (0, 0, thick, size),
            (size - thick, 0, size, size),
        ]
        if rng.random() < 0.5:
            fill = _colour(rng) if rng.random() < 0.6 else tuple(int(c * 0.85) for c in ground)
            draw.rectangle(boxes[edge], fill=fill)
