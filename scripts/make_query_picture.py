"""Make docs/query.png, a query beside its original for the README, from a finished `make run`.

python scripts/make_query_picture.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.cli.interrupts import run_program
from active_indexing.images.any_image import srgb_of
from active_indexing.query.answers import Answer
from active_indexing.query.lookup import Lookup
from active_indexing.query.page import framed
from active_indexing.reporting.pictures import reduced

EDGE = 480


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, default=Path("output/store"), help="default: %(default)s")
    parser.add_argument(
        "--query", type=Path, default=Path("output/found/screenshot.jpg"), help="default: %(default)s"
    )
    parser.add_argument("--to", type=Path, default=Path("docs/query.png"), help="default: %(default)s")
    arguments = parser.parse_args(argv)
    with Lookup(arguments.store) as lookup:
        answer = lookup.ask(arguments.query)
    with atomic_file(arguments.to) as file:
        figure(answer).savefig(file, format="png", dpi=90)
    print(f"the picture is {arguments.to}")
    return 0


def figure(answer: Answer) -> Figure:
    """The query with a frame around the part that matched, and the original."""
    assert answer.best is not None, "the query has no original"
    pixels = srgb_of(answer.query)[0]
    query = framed(pixels, answer.box) if answer.box is not None else pixels
    drawn = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for axes, picture, title in (
        (left, query, "asked about"),
        (right, srgb_of(answer.best.released)[0], f"ours: {Path(answer.best.released).name}"),
    ):
        axes.imshow(reduced(picture, EDGE))
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    sigma = "" if answer.best.normalized is None else f", {answer.best.normalized:.1f} sigma above strangers"
    drawn.suptitle(f"{answer.verdict}: distance {answer.best.distance:.3f}{sigma}", fontsize=11)
    return drawn


if __name__ == "__main__":
    run_program(main)
