"""Precision-recall curves of predictions as a table or a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.evaluation.protocols.disc import Curve
from active_indexing.extras import third_party

PICTURES = (".png", ".pdf", ".svg")


def check_curve_path(path: Path) -> None:
    """Refuse a name whose ending says no format, before any work is done.

    Raises:
        ValueError: with the endings that do.
    """
    if path.suffix.lower() not in (".csv", *PICTURES):
        raise ValueError(f"--pr_curve_filepath {path} must end in .csv, {', '.join(PICTURES)}.")
    if path.suffix.lower() != ".csv":
        third_party("matplotlib", "report")


def write_curves(path: Path, curves: Mapping[str, Curve], title: str = "") -> None:
    """Write curves, atomically.

    Args:
        path: ``.csv`` has a row per point (curve, recall, precision, threshold); ``.png``, ``.pdf`` and
            ``.svg`` are pictures.
        curves: by name.
        title: of a picture.

    Raises:
        ValueError: another ending.
        MissingExtraError: a picture without matplotlib.
    """
    check_curve_path(path)
    if path.suffix.lower() == ".csv":
        points = (
            (name, *point)
            for name, curve in curves.items()
            for point in zip(
                curve.recall.tolist(), curve.precision.tolist(), curve.threshold.tolist(), strict=True
            )
        )
        write_csv(path, ("curve", "recall", "precision", "threshold"), points)
        return
    figure = third_party("matplotlib.figure", "report").Figure(figsize=(6, 4.5), layout="constrained")
    axis = figure.add_subplot()
    for name, curve in curves.items():
        axis.plot(curve.recall, curve.precision, label=name)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title=title)
    axis.grid(visible=True)
    if curves:
        axis.legend(loc="best", fontsize="small")
    with atomic_file(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower())
