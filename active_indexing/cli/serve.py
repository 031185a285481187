"""Answer questions about images over HTTP: a page for people, an API for programs.

    active-indexing serve archive

The page is http://127.0.0.1:8000/, the API is described at /docs. Others than this machine are let in with
--host and a token: `active-indexing token archive add NAME`. Images that are asked about stay in memory and
are forgotten. Releases and removals by other programs count at once.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from active_indexing.cli.flags import Parser, add_settings
from active_indexing.service.config import ServiceConfig


def add_parser(parser: Parser) -> None:
    """The store, the address, the limits, and how the store is asked."""
    parser.add_argument("store", type=Path, help="folder of the store")
    add_settings(parser, ServiceConfig)
    parser.add_argument(
        "--false_positive_rate",
        type=float,
        default=0.01,
        help="share of foreign images that may be called a match (default: %(default)s)",
    )
    parser.add_argument(
        "--nprobe", type=int, default=32, help="cells of the index visited per view (default: %(default)s)"
    )
    parser.add_argument("--device", help="torch device (default: a GPU when there is one)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop.

    Returns:
        0.

    Raises:
        ValueError: an address or a store that can't be used.
        FileNotFoundError: no store there.
        MissingExtraError: the libraries are not installed.
    """
    from active_indexing.extras import require_for_service

    require_for_service()
    from active_indexing.service.serving import AppMaker, serve

    service = ServiceConfig(**{field.name: getattr(arguments, field.name) for field in fields(ServiceConfig)})
    query = {"false_positive_rate": arguments.false_positive_rate, "nprobe": arguments.nprobe}
    serve(AppMaker(arguments.store, service, query, arguments.device))
    return 0
