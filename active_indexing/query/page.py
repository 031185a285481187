"""Answers on one self-contained HTML page: the query and its original side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader

from active_indexing.artefacts.atomic import write_text
from active_indexing.images.any_image import srgb_of
from active_indexing.images.header import UnreadableImage
from active_indexing.query.answers import MATCH, NO_MATCH, UNREADABLE, UNSURE_MATCH, Answer
from active_indexing.reporting.gallery import jpeg_url
from active_indexing.reporting.pictures import reduced

EDGE = 420
"""Longer edge of a picture in pixels."""

FRAME = 3
"""Thickness of the frame around the part of the query that matched, in pixels of the picture."""

COLOUR = (31, 95, 191)


def write_page(path: Path, answers: Sequence[Answer], notes: Sequence[str] = ()) -> None:
    """Write the page; it needs no other file and no network.

    Args:
        path: of the page.
        answers: in the order of the page.
        notes: what people should know about all of them.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    counts = {
        verdict: sum(a.verdict == verdict for a in answers)
        for verdict in (MATCH, UNSURE_MATCH, NO_MATCH, UNREADABLE)
    }
    html = environment.get_template("page.html").render(
        cards=[_card(answer) for answer in answers], counts=counts, notes=notes
    )
    write_text(path, html)


def _card(answer: Answer) -> dict[str, Any]:
    query = _pixels(Path(answer.query))
    if query is not None and answer.box is not None and answer.view not in ("whole", "file"):
        query = framed(query, answer.box)
    best = answer.best
    original = None if best is None else _pixels(Path(best.released))
    return {
        "answer": answer,
        "name": Path(answer.query).name,
        "original_name": "" if best is None else Path(best.released).name,
        "query_url": _url(query),
        "original_url": _url(original),
        "kind": answer.verdict.replace(" ", "-"),
    }


def framed(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """A copy of (H, W, 3) uint8 with a frame around (top, left, bottom, right)."""
    thick = max(1, FRAME * max(pixels.shape[:2]) // EDGE)
    marked = pixels.copy()
    top, left, bottom, right = box
    for rows, columns in (
        (slice(top, top + thick), slice(left, right)),
        (slice(max(top, bottom - thick), bottom), slice(left, right)),
        (slice(top, bottom), slice(left, left + thick)),
        (slice(top, bottom), slice(max(left, right - thick), right)),
    ):
        marked[rows, columns] = COLOUR
    return marked


def _pixels(path: Path) -> np.ndarray | None:
    try:
        return srgb_of(path)[0]
    except UnreadableImage:
        return None


def _url(pixels: np.ndarray | None) -> str:
    return "" if pixels is None else jpeg_url(reduced(pixels, EDGE))
