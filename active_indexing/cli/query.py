"""Ask a store about images: is it ours, which one, how sure?

    active-indexing query suspicious.jpg --store archive

Answers with match, unsure or no match, the original, and the distance of the descriptors. The query is
looked at whole and in parts: without its border, in rectangles that look like pictures, turned by a quarter.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from active_indexing.cli.flags import Parser


def add_parser(parser: Parser) -> None:
    """The images, the store, and how answers are given."""
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="images and folders; -: paths on standard input, one a line",
    )
    parser.add_argument(
        "--list", type=Path, action="append", default=[], metavar="FILE", help="file with one path a line"
    )
    add_store_flags(parser)
    parser.add_argument(
        "--format", choices=("table", "csv", "jsonl"), default="table", help="default: %(default)s"
    )
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write a page, queries beside originals")


def add_store_flags(parser: Parser) -> None:
    """The store and how it is asked; ``calibrate`` has them too."""
    parser.add_argument("--store", type=Path, required=True, help="folder of the store")
    parser.add_argument(
        "--false_positive_rate",
        type=float,
        default=0.01,
        help="share of foreign images that may be called a match (default: %(default)s)",
    )
    parser.add_argument(
        "--nprobe", type=int, default=32, help="cells of the index visited per view (default: %(default)s)"
    )
    parser.add_argument(
        "--no_views",
        dest="views",
        action="store_false",
        help="look at the whole image only: faster, and blind for screenshots and captions",
    )
    parser.add_argument("--device", help="torch device (default: a GPU when there is one)")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and tell the answers as they come.

    Returns:
        0 when something matched, 1 when nothing did, 2 when nothing was asked.

    Raises:
        ValueError: a store that can't be used.
        FileNotFoundError: no store, or a list that is not there.
    """
    from active_indexing.extras import require_for_reports
    from active_indexing.parallel.resources import device_for
    from active_indexing.query.answers import Answer, matched
    from active_indexing.query.inputs import query_paths
    from active_indexing.query.lookup import Lookup, QueryConfig
    from active_indexing.query.output import lines

    if arguments.html is not None:
        require_for_reports()
    config = QueryConfig(
        false_positive_rate=arguments.false_positive_rate, nprobe=arguments.nprobe, views=arguments.views
    )
    answers: list[Answer] = []
    with Lookup(arguments.store, config, device_for(arguments.device)) as lookup:
        for note in lookup.notes:
            print(note, file=sys.stderr)

        def asked() -> Iterator[Answer]:
            for path in query_paths(arguments.images, arguments.list):
                answers.append(lookup.ask(path))
                yield answers[-1]

        for line in lines(asked(), arguments.format):
            print(line, flush=True)
        if not answers:
            raise ValueError("no images: give files, folders, --list FILE, or - for standard input.")
        if arguments.html is not None:
            from active_indexing.query.page import write_page  # pandas and jinja2 load for a page only

            write_page(arguments.html, answers, lookup.notes)
            print(f"the page is {arguments.html}", file=sys.stderr)
    return 0 if matched(answers) else 1
