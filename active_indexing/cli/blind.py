"""One HTML page that tests whether you see what activation changed in your photos.

    active-indexing blind output/active

Pairs of pictures, pixel by pixel: the input, and the released file. You say with an arrow key which one was
changed, and at the end the page says whether that was more than guessing. It opens from the file system and
needs no network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from active_indexing.cli.flags import Parser
from active_indexing.extras import require_for_reports

PAIRS = 20  # as in reporting.blind, which loads what a report needs


def add_parser(parser: Parser) -> None:
    """The run, and what of it."""
    add = parser.add_argument
    add("folder", type=Path, metavar="RUN", help="output folder of a finished active run")
    add(
        "--baseline",
        type=Path,
        help="output folder of a run without activation, for files that are JPEG or WebP",
    )
    add("--pairs", type=int, default=PAIRS, help="at most so many; default: %(default)s")
    add("--seed", type=int, default=0, help="of the choice of images; default: %(default)s")
    add("--to", type=Path, help="the page; default: blind.html in RUN")


def run(arguments: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        ValueError: no changed image can be shown.
        FileNotFoundError: a folder holds no finished run.
    """
    require_for_reports()
    from active_indexing.reporting.blind import write_blind_test
    from active_indexing.reporting.runs import open_runs

    to = arguments.to or arguments.folder / "blind.html"
    baseline = None if arguments.baseline is None else open_runs([arguments.baseline])[0]
    pairs = write_blind_test(
        open_runs([arguments.folder])[0],
        to,
        baseline=baseline,
        pairs=arguments.pairs,
        seed=arguments.seed,
    )
    print(f"the test of {pairs} pairs is {to}")
    return 0
