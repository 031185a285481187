"""Measure how near foreign images come to those of a store, for the threshold of `query`.

    active-indexing calibrate --store archive --non_matching other_photos

Every image of the folder is asked about; none of them may be a copy of yours. The more there are, the rarer
the false alarms that can be promised: 1,000 for a rate of 0.01. Without a folder the store's own images are
asked about, each against the others. The result is kept in archive/calibration.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from active_indexing.cli.flags import Parser
from active_indexing.cli.query import add_store_flags


def add_parser(parser: Parser) -> None:
    """The store and the foreign images."""
    add_store_flags(parser)
    parser.add_argument(
        "--non_matching",
        type=Path,
        metavar="FOLDER",
        help="images that are not in the store (default: its own images, each against the others)",
    )
    parser.add_argument(
        "--most", type=int, default=2000, help="images that are asked about at most (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Calibrate, and tell the threshold.

    Raises:
        ValueError: too few images, or a store that can't be used.
        FileNotFoundError: no store, or no images.
    """
    from active_indexing.parallel.resources import device_for
    from active_indexing.query.calibrating import calibrate
    from active_indexing.query.lookup import QueryConfig

    config = QueryConfig(
        false_positive_rate=arguments.false_positive_rate, nprobe=arguments.nprobe, views=arguments.views
    )
    device = device_for(arguments.device)
    made = calibrate(arguments.store, config, arguments.non_matching, arguments.most, device)
    print(f"{made}\nkept in {made.path}")
    return 0
