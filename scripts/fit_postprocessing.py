"""Fit centring and PCA whitening to descriptors and save them beside the descriptor's weights.

    python scripts/extract_fts.py --data_dir IMAGES --output_dir FTS --model_path my.pt
    python scripts/fit_postprocessing.py --fts_path FTS/fts.pth --model_path my.pt --dim 128

From then on everything that loads my.pt gives the whitened descriptors: extract again, train the index again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from active_indexing.cli.interrupts import run_program
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import DEFAULT_DESCRIPTOR, load_descriptor
from active_indexing.descriptors.postprocessing import (
    fit_postprocessing,
    postprocessing_path,
    save_postprocessing,
)
from active_indexing.extraction.matrix_file import open_descriptors

MOST_ROWS = 1_000_000
"""Descriptors that are used at most, 1 GB of 256-d float32; a sample of this size fixes the statistics."""


def fit(fts_path: Path, config: DescriptorConfig, dim: int | None, power: float) -> Path:
    """Fit and save.

    Args:
        fts_path: descriptors of the same descriptor, of images that are neither protected nor queries.
        config: the descriptor; its weights file gets the post-processing beside it.
        dim: directions kept; ``None`` keeps all.
        power: 0.5 whitens, 0 only centres and rotates.

    Returns:
        The written file.

    Raises:
        ValueError: no weights file, one that has post-processing already, or foreign descriptors.
    """
    if config.model_path is None or config.model_path.resolve() == DEFAULT_DESCRIPTOR.resolve():
        raise ValueError(
            "give --model_path a file of yours: the post-processing is saved beside it (for the default "
            "descriptor, copy active_indexing/assets/default_descriptor.pt to a folder of yours)."
        )
    target = postprocessing_path(config.model_path)
    if target.exists():
        raise ValueError(f"{target} is there already; move it and its .json away, extract and fit again.")
    descriptor, file = load_descriptor(config, torch.device("cpu")), open_descriptors(fts_path)
    if file.made_by not in (None, descriptor.fingerprint) or file.dim != descriptor.dim:
        raise ValueError(
            f"{fts_path} was not extracted with {config.model_path}; run extract_fts.py with it."
        )
    fitted = fit_postprocessing(
        file.sample(MOST_ROWS, seed=0), descriptor=descriptor.fingerprint, dim=dim, power=power
    )
    save_postprocessing(fitted, target)
    return target


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 2 when something does not fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fts_path", type=Path, required=True, help="descriptors, .npy, .pth or .pt")
    parser.add_argument("--model_path", type=Path, help="weights of the descriptor")
    parser.add_argument("--model_name", help="as in main.py, when the file alone does not say")
    parser.add_argument("--resize_size", type=int, help="as in main.py")
    parser.add_argument("--dim", type=int, help="directions kept (default: all)")
    parser.add_argument("--power", type=float, default=0.5, help="0.5: whitening, 0: centring (default: 0.5)")
    given = parser.parse_args(argv)
    try:
        config = DescriptorConfig(
            model_name=given.model_name, model_path=given.model_path, resize_size=given.resize_size
        )
        path = fit(given.fts_path, config, given.dim, given.power)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"the post-processing is {path}; extract descriptors and train the index again")
    return 0


if __name__ == "__main__":
    run_program(main)
