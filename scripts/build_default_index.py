"""Build the embedded index: trained from a descriptor file, filled with it, saved with its side-car.

    python scripts/extract_fts.py --data_dir IMAGES --output_dir FTS --format npy
    python scripts/build_default_index.py --fts_path FTS/fts.npy

The shipped index was trained on the first 40,000 and holds all of 60,000 Tiny ImageNet images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from active_indexing.cli.interrupts import run_program
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.extraction.matrix_file import open_descriptors
from active_indexing.index.config import IndexConfig
from active_indexing.index.files import EMBEDDED_DIR, index_path, save
from active_indexing.index.vector_index import new_index

TRAINING_ROWS = 40_000
"""Rows that train the shipped index: 39 per cell of IVF1024, so that FAISS has enough."""


def build(fts_path: Path, folder: Path, training_rows: int, factory: str, metric: str) -> Path:
    """Train, fill and save.

    Args:
        fts_path: descriptors of the default descriptor, .npy or .pth.
        folder: where the index goes.
        training_rows: so many first rows train the index; all rows are added, their numbers as ids.
        factory: FAISS factory string; the index must keep ids itself (IVF).
        metric: ``L2`` or ``IP``.

    Returns:
        Path of the index.

    Raises:
        ValueError: descriptors of another descriptor, or too few.
    """
    file = open_descriptors(fts_path)
    descriptor = load_descriptor(DescriptorConfig(), torch.device("cpu"))
    if file.made_by not in (None, descriptor.fingerprint) or file.dim != descriptor.dim:
        raise ValueError(
            f"{fts_path} was not extracted with the default descriptor; run extract_fts.py again."
        )
    index = new_index(factory, metric, descriptor.dim)
    rows = np.concatenate([chunk for _, chunk in file.chunks()])
    index.train(rows[:training_rows])
    index.add(rows, np.arange(len(rows)))
    training = {**file.identity(), "rows": min(training_rows, len(rows))}
    inputs = {
        "factory": factory,
        "quant": metric,
        "dim": descriptor.dim,
        "descriptor": descriptor.fingerprint,
        "training": training,
    }
    path = index_path(folder, factory, metric)
    save(path, index, inputs)
    return path


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 2 when the descriptors do not fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fts_path", type=Path, required=True, help="descriptors, .npy, .pth or .pt")
    parser.add_argument("--output_dir", type=Path, default=EMBEDDED_DIR, help="default: the package's assets")
    parser.add_argument("--training_rows", type=int, default=TRAINING_ROWS, help="default: %(default)s")
    parser.add_argument("--idx_factory", default=IndexConfig.idx_factory, help="default: %(default)s")
    parser.add_argument(
        "--quant", choices=("L2", "IP"), default=IndexConfig.quant, help="default: %(default)s"
    )
    arguments = parser.parse_args(argv)
    try:
        path = build(
            arguments.fts_path,
            arguments.output_dir,
            arguments.training_rows,
            arguments.idx_factory,
            arguments.quant,
        )
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"the index is {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    run_program(main)
