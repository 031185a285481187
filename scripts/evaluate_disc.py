r"""Copy detection on DISC21 by the rules of the Image Similarity Challenge 2021.

    python scripts/evaluate_disc.py --data_dir DISC --output_dir OUT
    python scripts/evaluate_disc.py --query_descs query.hdf5 --db_descs reference.hdf5 \
        --train_descs training.hdf5 --gt_filepath truth.csv --output_dir OUT
    python scripts/evaluate_disc.py --preds_filepath predictions.csv --gt_filepath truth.csv

Descriptors are extracted from image folders, or read from files: HDF5 (vectors and image_names, also in
parts), or .npy and .pth with filenames.txt beside them. Every codec is tried with every score
normalisation; each prints its results and writes its predictions, and disc_metrics.csv in OUT has one row
for each, with 95 % bootstrap intervals over queries. Unnormalised scores are minus squared L2 distances, or
inner products with --ip.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.cli import flags
from active_indexing.cli.interrupts import run_program
from active_indexing.cli.published_flags import EVALUATE_DISC, answer_published
from active_indexing.evaluation.protocols import disc, predictions
from active_indexing.evaluation.protocols.codecs import default_codecs
from active_indexing.evaluation.protocols.curve_file import check_curve_path, write_curves
from active_indexing.evaluation.protocols.predictions import GroundTruth
from active_indexing.evaluation.protocols.score_normalization import (
    ScoreNormalization,
    parse_score_normalization,
)
from active_indexing.extraction.named_descriptors import open_set
from active_indexing.extras import MissingExtraError
from active_indexing.metrics.bootstrap import REPLICATES

METRICS_FILE = "disc_metrics.csv"


def parser() -> argparse.ArgumentParser:
    """The flags of the published programs, where they have one."""
    built = argparse.ArgumentParser(
        prog="evaluate_disc.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    built.add_argument("--data_dir", "--disc_path", type=Path, help="DISC21, in SSCD's layout or unpacked")
    built.add_argument("--split", choices=("dev", "test"), default="dev", help="default: %(default)s")
    built.add_argument("--query_descs", type=Path, nargs="+", help="queries: descriptor files or a folder")
    built.add_argument("--db_descs", type=Path, nargs="+", help="references: descriptor files or a folder")
    built.add_argument("--train_descs", type=Path, nargs="+", help="training: descriptor files or a folder")
    built.add_argument("--gt_filepath", type=Path, help="ground truth CSV")
    built.add_argument("--preds_filepath", type=Path, help="measure this prediction CSV; nothing is searched")
    built.add_argument("--output_dir", "--output_path", type=Path, default=Path("output/disc"))
    built.add_argument("--codecs", help="separated by ; (default: Flat, and whitened with training images)")
    built.add_argument(
        "--score_norm", help="separated by ; such as none;1.0[0,2];2*mean10;2*min10 (default: none;1.0[0,2])"
    )
    built.add_argument("--k", type=int, default=10, help="candidates per query, default: %(default)s")
    built.add_argument(
        "--global_candidates",
        type=flags.boolean,
        nargs="?",
        const=True,
        default=False,
        metavar="BOOL",
        help="the best pairs of all queries together",
    )
    built.add_argument(
        "--ip", action="store_true", help="plain scores are inner products, not minus squared L2 distances"
    )
    built.add_argument(
        "--pr_curve_filepath", type=Path, help="write the curves to this .csv, .png, .pdf or .svg"
    )
    built.add_argument("--title", default="", help="of the picture of the curves")
    built.add_argument("--metadata", help="text for a column of its own")
    built.add_argument(
        "--ref_column", choices=predictions.REFERENCE_COLUMNS, default=predictions.REFERENCE_COLUMNS[0]
    )
    built.add_argument("--bootstrap", type=int, default=REPLICATES, help="data sets drawn; 0: no intervals")
    built.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    flags.add_flags(built)
    answer_published(built, EVALUATE_DISC)
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 2 when something must be put right first, 1 when no codec could be used."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.pr_curve_filepath is not None:
            check_curve_path(arguments.pr_curve_filepath)
        if arguments.preds_filepath is not None:
            return _measure_file(arguments)
        return _search_and_measure(arguments)
    except (ValueError, OSError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _measure_file(arguments: argparse.Namespace) -> int:
    truth = _truth(arguments)
    read = predictions.read_predictions(arguments.preds_filepath)
    _print(disc.evaluate(read, truth, replicates=arguments.bootstrap, seed=arguments.seed))
    _write_curves(arguments, {arguments.preds_filepath.name: disc.curve(read, truth)})
    return 0


def _search_and_measure(arguments: argparse.Namespace) -> int:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    truth = _truth(arguments)
    normalizations = _normalizations(arguments)
    data = _data(arguments, device)
    if arguments.score_norm is None and data.training is None:
        normalizations = [None]
    lost = disc.undescribed(data, truth)
    if lost:
        print(
            f"note: {lost:,} matches have an image without descriptor; they count as missed", file=sys.stderr
        )
    rows, curves = [], {}
    for codec in _codecs(arguments, data):
        try:
            encoded = disc.encode(data, codec)
        except ValueError as error:
            print(f"codec {codec} skipped: {error}", file=sys.stderr)
            continue
        for normalization in normalizations:
            result, curve = _one(arguments, encoded, truth, codec, normalization, device)
            curves[f"{codec} {_name(normalization)}"] = curve
            rows.append((codec, _name(normalization), result))
    _write(arguments, rows)
    _write_curves(arguments, curves)
    return 0 if rows else 1


def _one(
    arguments: argparse.Namespace,
    data: disc.DiscData,
    truth: GroundTruth,
    codec: str,
    normalization: ScoreNormalization | None,
    device: torch.device,
) -> tuple[disc.DiscResult, disc.Curve]:
    predicted = disc.predict(
        data,
        normalization,
        k=arguments.k,
        global_candidates=arguments.global_candidates,
        inner_product=arguments.ip,
        device=device,
    )
    path = arguments.output_dir / f"predictions_codec={codec}_norm={_name(normalization)}.csv"
    predictions.write_predictions(path, predicted, arguments.ref_column)
    result = disc.evaluate(
        predicted, truth, data.queries.ids, replicates=arguments.bootstrap, seed=arguments.seed
    )
    print(f"codec {codec}, score normalisation {_name(normalization)}")
    _print(result)
    return result, disc.curve(predicted, truth)


def _write_curves(arguments: argparse.Namespace, curves: dict[str, disc.Curve]) -> None:
    if arguments.pr_curve_filepath is not None:
        write_curves(arguments.pr_curve_filepath, curves, arguments.title)
        print(f"the precision-recall curves are {arguments.pr_curve_filepath}")


def _write(arguments: argparse.Namespace, rows: list[tuple[str, str, disc.DiscResult]]) -> None:
    ends = [f"{name}_{end}" for name in disc.FIGURES for end in ("low", "high")]
    ends = ends if arguments.bootstrap else []
    more = [] if arguments.metadata is None else [("metadata", arguments.metadata)]
    cells = []
    for codec, normalization, result in rows:
        intervals = [end for name in result.intervals for end in _ends(result, name)]
        values = [result.figures[name] for name in disc.FIGURES]
        cells.append((codec, normalization, *values, *intervals, *(value for _, value in more)))
    path = arguments.output_dir / METRICS_FILE
    write_csv(path, ("codec", "score_norm", *disc.FIGURES, *ends, *(name for name, _ in more)), cells)
    print(f"the table is {path}")


def _ends(result: disc.DiscResult, name: str) -> tuple[float, float]:
    return result.intervals[name].low, result.intervals[name].high


def _print(result: disc.DiscResult) -> None:
    print(result.printed())
    print("\n".join([*result.interval_lines(), ""]))


def _truth(arguments: argparse.Namespace) -> GroundTruth:
    path = arguments.gt_filepath
    if path is None and arguments.data_dir is not None:
        path = disc.disc_layout(arguments.data_dir, arguments.split).ground_truth
    if path is None:
        raise ValueError("no ground truth; give --gt_filepath, or --data_dir with the whole data set.")
    return predictions.read_ground_truth(path)


def _data(arguments: argparse.Namespace, device: torch.device) -> disc.DiscData:
    paths = [arguments.query_descs, arguments.db_descs, arguments.train_descs]
    if arguments.data_dir is not None:
        found = disc.disc_layout(arguments.data_dir, arguments.split)
        parts = (found.queries, found.references, found.training)
        paths = [given or ([part] if part else None) for given, part in zip(paths, parts, strict=True)]
    queries, references, training = paths
    if not queries or not references:
        raise ValueError("give --data_dir, or --query_descs and --db_descs.")
    describe = flags.describer(arguments, arguments.output_dir / "descriptors", device)
    return disc.DiscData(
        queries=open_set(queries, describe),
        references=open_set(references, describe),
        training=open_set(training, describe) if training else None,
    )


def _codecs(arguments: argparse.Namespace, data: disc.DiscData) -> Sequence[str]:
    if arguments.codecs is not None:
        return [codec.strip() for codec in arguments.codecs.split(";")]
    return ("Flat",) if data.training is None else default_codecs(data.training.vectors)


def _normalizations(arguments: argparse.Namespace) -> list[ScoreNormalization | None]:
    texts = "none;1.0[0,2]" if arguments.score_norm is None else arguments.score_norm
    return [parse_score_normalization(text) for text in texts.split(";")]


def _name(normalization: ScoreNormalization | None) -> str:
    return "None" if normalization is None else normalization.name


if __name__ == "__main__":
    run_program(main)
