"""Descriptors of a folder or a tar archive of images.

    python scripts/extract_fts.py --data_dir IMAGES --output_dir OUT

Writes into OUT fts.pth (an (N, D) float32 tensor; or fts.npy, or fts.hdf5), filenames.txt (line i names the
image of row i), skipped.csv (images that could not be read, with reasons) and fts.json (what made them).
Nothing is written under these names until all is done. Killed, it goes on where it stopped when the same
command is run again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from active_indexing.cli.interrupts import run_program
from active_indexing.cli.published_flags import EXTRACT_FTS, answer_published
from active_indexing.descriptors.config import RESIZES, DescriptorConfig


def parser() -> argparse.ArgumentParser:
    """The flags of the published program, and two of ours."""
    built = argparse.ArgumentParser(
        prog="extract_fts.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    built.add_argument("--output_dir", type=Path, default=Path("output"), help="default: %(default)s")
    built.add_argument("--data_dir", type=Path, required=True, help="folder (with sub-folders) or .tar")
    built.add_argument(
        "--model_name", help="torchscript, or a torchvision or timm architecture (default: our descriptor)"
    )
    built.add_argument("--model_path", type=Path, help="weights or TorchScript file")
    built.add_argument("--resize_size", type=int, help="network input in pixels (default: the model's own)")
    built.add_argument(
        "--resize",
        choices=RESIZES,
        help="what that size is the edge of (default: the model's own, mostly square)",
    )
    built.add_argument(
        "--batch_size", type=int, default=256, help="images per pass of the network (default: %(default)s)"
    )
    built.add_argument(
        "--workers", type=int, default=_cores(), help="processes that decode (default: one per core; 0: none)"
    )
    built.add_argument(
        "--format",
        choices=("pth", "npy", "hdf5"),
        default="pth",
        help="hdf5 is for the programs of the Image Similarity Challenge (default: %(default)s)",
    )
    built.add_argument(
        "--part_images",
        type=int,
        default=0,
        help="images of each HDF5 file: fts_0.hdf5, fts_1.hdf5 ... (default: 0, one file)",
    )
    answer_published(built, EXTRACT_FTS)
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line.

    Returns:
        0 when the descriptors are written, 2 when something must be put right first, 130 when interrupted;
        after the last two, running the same command again goes on.
    """
    arguments = parser().parse_args(argv)
    import torch

    from active_indexing.descriptors.loading import load_descriptor
    from active_indexing.extraction.extract import extract
    from active_indexing.images.listing import open_source

    began = time.monotonic()
    try:
        model = DescriptorConfig(
            model_name=arguments.model_name,
            model_path=arguments.model_path,
            resize_size=arguments.resize_size,
            resize=arguments.resize,
        )
        source = open_source(arguments.data_dir)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        done = extract(
            source,
            load_descriptor(model, device),
            arguments.output_dir,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            file_format=arguments.format,
            part_images=arguments.part_images,
            progress=True,
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    how = "was there already" if done.existed else f"written in {time.monotonic() - began:.0f} s"
    print(f"{done.path}: {done.count:,} descriptors of {done.dim} dimensions, {how}")
    if done.skipped:
        print(f"{done.skipped:,} images skipped, see {done.path.parent / 'skipped.csv'}")
    return 0


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    run_program(main)
