"""Make docs/example.png, the picture of the README, from a finished `make run`.

python scripts/make_readme_picture.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.cli.interrupts import run_program
from active_indexing.reporting.image_figures import side_by_side


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", type=Path, default=Path("output/active"), help="default: %(default)s")
    parser.add_argument("--name", default="chelsea.png", help="file name of the photo, default: %(default)s")
    parser.add_argument("--to", type=Path, default=Path("docs/example.png"), help="default: %(default)s")
    arguments = parser.parse_args(argv)
    manifest = pd.read_csv(arguments.output_dir / "manifest.csv")
    rows = manifest[[Path(source).name == arguments.name for source in manifest["source"]]]
    if rows.empty:
        print(f"error: no {arguments.name} in {arguments.output_dir}/manifest.csv", file=sys.stderr)
        return 2
    row = rows.iloc[0]
    title = f"PSNR {row['psnr']:.1f} dB, SSIM {row['ssim']:.3f}"
    figure = side_by_side(Path(row["source"]), arguments.output_dir / row["released"], title)
    with atomic_file(arguments.to) as file:
        figure.savefig(file, format="png", dpi=80)
    print(f"the picture is {arguments.to}")
    return 0


if __name__ == "__main__":
    run_program(main)
