"""Compare runs side by side: recall per attack, copy detection, image quality.

    python scripts/compare.py output/passive output/active

Prints the tables and writes them to comparison.csv in the last folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from active_indexing.artefacts.atomic import write_text
from active_indexing.cli.interrupts import run_program
from active_indexing.reporting import image_quality, recall, runs
from active_indexing.reporting.runs import METRICS


def report(folders: list[Path], metric: str) -> str:
    """The tables as text; the recall table also goes to ``comparison.csv`` in the last folder.

    Raises:
        FileNotFoundError: a folder without a finished run.
    """
    found_runs = {folder: runs.read_run(folder) for folder in folders}
    named = _names(folders)
    table = recall.comparison(named, metric)
    lines = [f"{metric} per attack", table.to_string(float_format=lambda value: f"{value:.3f}"), ""]
    for name, folder in named.items():
        found = found_runs[folder].get("copy_detection")
        if found:
            queries = f"{found['matching']} matching and {found['non_matching']} other queries"
            lines.append(f"copy detection, {name}: uAP {found['uAP']:.3f} ({queries})")
    quality = image_quality.quality_table(named)
    lines += ["", "released images", quality.to_string(float_format=lambda value: f"{value:.4g}")]
    if not image_quality.same_images(named):
        lines.append("note: the runs did not release the same images.")
    target = folders[-1] / "comparison.csv"
    write_text(target, table.to_csv())
    return "\n".join([*lines, "", f"the first table is in {target}"])


def _names(folders: list[Path]) -> dict[str, Path]:
    names = [folder.name for folder in folders]
    return {f.name if names.count(f.name) == 1 else str(f): f for f in folders}


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 2 when a folder holds no finished run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="output folders of main.py")
    parser.add_argument("--metric", choices=METRICS, default="r@1", help="default: %(default)s")
    arguments = parser.parse_args(argv)
    try:
        print(report(arguments.folders, arguments.metric))
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    run_program(main)
