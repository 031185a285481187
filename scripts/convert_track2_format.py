"""The descriptor track's submission file of the Image Similarity Challenge 2021, from descriptors.

    python scripts/convert_track2_format.py --query_descs QUERIES --db_descs REFERENCES --o SUBMISSION.hdf5

QUERIES and REFERENCES are HDF5 files (scripts/extract_fts.py --format hdf5), or .npy, .pth or .pt with
filenames.txt beside them. The submission has query, query_ids, reference and reference_ids, sorted by id.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from active_indexing.cli.interrupts import run_program
from active_indexing.evaluation.protocols.submission import MOST_DIMENSIONS, write_submission
from active_indexing.extraction.named_descriptors import open_set
from active_indexing.extras import MissingExtraError


def parser() -> argparse.ArgumentParser:
    """The flags of the published program."""
    built = argparse.ArgumentParser(
        prog="convert_track2_format.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    built.add_argument("--query_descs", type=Path, nargs="+", required=True, help="descriptors of queries")
    built.add_argument("--db_descs", type=Path, nargs="+", required=True, help="descriptors of references")
    built.add_argument("--o", type=Path, required=True, help="file to write")
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 2 when something must be put right first."""
    arguments = parser().parse_args(argv)
    try:
        queries, references = (
            open_set(paths, _refused) for paths in (arguments.query_descs, arguments.db_descs)
        )
        write_submission(arguments.o, queries, references)
    except (ValueError, OSError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    dim = queries.vectors.shape[1]
    print(f"{arguments.o}: {len(queries):,} queries and {len(references):,} references of {dim} dimensions")
    if dim > MOST_DIMENSIONS:
        print(f"note: the challenge accepted at most {MOST_DIMENSIONS} dimensions", file=sys.stderr)
    return 0


def _refused(path: Path) -> Path:
    raise ValueError(
        f"{path} is no file of descriptors (.hdf5, .h5, .npy, .pth or .pt); make one with "
        "scripts/extract_fts.py."
    )


if __name__ == "__main__":
    run_program(main)
