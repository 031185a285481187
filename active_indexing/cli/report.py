"""One HTML page about finished runs: verdict, tables, curves, gallery, skipped files.

    active-indexing report output/passive output/active

Writes report.html into the last folder. The page opens from the file system and needs no network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from active_indexing.cli.flags import Parser
from active_indexing.extras import require_for_reports


def add_parser(parser: Parser) -> None:
    """The folders."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUTPUT", help="output folders of runs")


def run(arguments: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        ValueError: runs that have nothing in common.
        FileNotFoundError: a folder holds no finished run.
    """
    require_for_reports()
    from active_indexing.reporting.page import write_report

    print(f"the report is {write_report(arguments.folders)}")
    return 0
