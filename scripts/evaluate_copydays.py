"""Copy detection on Copydays, with distractors.

    python scripts/evaluate_copydays.py --copydays_path COPYDAYS --distractor_path IMAGES --output_dir OUT

COPYDAYS holds original/, strong/, jpegqual/3/ ... 75/ and crops/10/ ... 80/ (data/prepare_copydays.py makes
it from the archives); blocks may be absent. Every image is a query and the originals and the distractors are
searched. Prints the mAP of each block and the uAP of all pairs; copydays_metrics.csv in OUT has one row per
codec, with 95 % bootstrap intervals over queries, and copydays_blocks.csv one row per codec and block.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.cli import flags
from active_indexing.cli.interrupts import run_program
from active_indexing.cli.published_flags import EVALUATE_COPYDAYS, answer_published
from active_indexing.evaluation.protocols import copydays
from active_indexing.evaluation.protocols.copydays import SIZES, STRONG, CopydaysData, CopydaysResult
from active_indexing.extraction.named_descriptors import open_set
from active_indexing.metrics.bootstrap import REPLICATES, Interval

METRICS_FILE, BLOCKS_FILE = "copydays_metrics.csv", "copydays_blocks.csv"
UNKNOWN = Interval(float("nan"), float("nan"))


def parser() -> argparse.ArgumentParser:
    """The flags of the published program; ``--output_path`` is its other name for ``--output_dir``."""
    built = argparse.ArgumentParser(
        prog="evaluate_copydays.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    built.add_argument("--copydays_path", type=Path, required=True, help="folder of Copydays")
    built.add_argument(
        "--distractor_path", type=Path, nargs="+", required=True, help="folder, archive or descriptor files"
    )
    built.add_argument(
        "--codec_train_path", type=Path, nargs="+", help="images or descriptor files that PCA is fitted to"
    )
    built.add_argument("--output_dir", "--output_path", type=Path, default=Path("output/copydays"))
    built.add_argument("--codecs", default="Flat", help="separated by ; such as Flat;PCAW512,L2norm,Flat")
    built.add_argument("--metadata", help="text for a column of its own")
    built.add_argument("--bootstrap", type=int, default=REPLICATES, help="data sets drawn; 0: no intervals")
    built.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    flags.add_flags(built)
    answer_published(built, EVALUATE_COPYDAYS)
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 2 when something must be put right first, 1 when no codec could be used."""
    arguments = parser().parse_args(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        data = _data(arguments, device)
        _tell_sizes(data)
        results = {}
        for codec in (text.strip() for text in arguments.codecs.split(";")):
            try:
                encoded = copydays.encode(data, codec)
            except ValueError as error:
                print(f"codec {codec} skipped: {error}", file=sys.stderr)
                continue
            results[codec] = copydays.evaluate(
                encoded, replicates=arguments.bootstrap, seed=arguments.seed, device=device
            )
            _print(codec, results[codec])
        _write(arguments, results)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if results else 1


def _data(arguments: argparse.Namespace, device: torch.device) -> CopydaysData:
    describe = flags.describer(arguments, arguments.output_dir / "descriptors", device)
    images = open_set([arguments.copydays_path], describe)
    blocks = copydays.split_blocks(arguments.copydays_path, images)
    distractors = open_set(arguments.distractor_path, describe)
    training = arguments.codec_train_path
    return CopydaysData(
        blocks, distractors.vectors, open_set(training, describe).vectors if training else None
    )


def _tell_sizes(data: CopydaysData) -> None:
    found = {block: len(images) for block, images in data.blocks.items()}
    differing = [f"{block} {found.get(block, 0)} of {size}" for block, size in SIZES.items()]
    differing = [
        text for text, block in zip(differing, SIZES, strict=True) if found.get(block) != SIZES[block]
    ]
    if differing:
        print(f"note: not the whole of Copydays ({', '.join(differing)})", file=sys.stderr)


def _print(codec: str, result: CopydaysResult) -> None:
    print(f"codec {codec}, {result.queries:,} queries")
    for block, value in result.block_map.items():
        print(f"  {f'{block} mAP':<16} {value:.5f}{_text(result, block)}")
    print(f"  {'overall uAP':<16} {result.overall_uap:.5f}{_text(result, 'overall')}")


def _text(result: CopydaysResult, name: str) -> str:
    interval = result.intervals.get(name)
    return "" if interval is None else f"  (95 % interval {interval.low:.5f} to {interval.high:.5f})"


def _write(arguments: argparse.Namespace, results: dict[str, CopydaysResult]) -> None:
    more = {} if arguments.metadata is None else {"metadata": arguments.metadata}
    rows, block_rows = [], []
    for codec, result in results.items():
        strong = result.intervals.get(STRONG, UNKNOWN)
        overall = result.intervals.get("overall", UNKNOWN)
        figures = (result.block_map.get(STRONG, np.nan), result.overall_uap)
        ends = (strong.low, strong.high, overall.low, overall.high) if arguments.bootstrap else ()
        rows.append((codec, *figures, *ends, *more.values()))
        for block, value in result.block_map.items():
            interval = result.intervals.get(block, UNKNOWN)
            block_rows.append((codec, block, value, interval.low, interval.high))
    ends_columns = ("strong_mAP_low", "strong_mAP_high", "overall_uAP_low", "overall_uAP_high")
    columns = ("codec", "strong_mAP", "overall_uAP", *(ends_columns if arguments.bootstrap else ()), *more)
    write_csv(arguments.output_dir / METRICS_FILE, columns, rows)
    block_columns = ("codec", "block", "mAP", "mAP_low", "mAP_high")
    write_csv(arguments.output_dir / BLOCKS_FILE, block_columns, block_rows)
    print(f"the tables are {arguments.output_dir / METRICS_FILE} and {BLOCKS_FILE}")


if __name__ == "__main__":
    run_program(main)
