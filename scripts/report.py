"""One HTML page about finished runs: verdict, tables, curves, gallery, skipped files.

    python scripts/report.py output/passive output/active

Writes report.html into the last folder. The page opens from the file system and needs no network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from active_indexing.cli.interrupts import run_program
from active_indexing.reporting.page import write_report


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 2 when a folder holds no finished run, or runs have nothing in common."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUTPUT", help="output folders of main.py")
    arguments = parser.parse_args(argv)
    try:
        print(f"the report is {write_report(arguments.folders)}")
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    run_program(main)
