"""Curves, bars and histograms of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from active_indexing.reporting import cells, copy_detection
from active_indexing.reporting.image_quality import QUALITY_UNITS
from active_indexing.reporting.recall import MEAN, PUBLISHED_MEAN, label
from active_indexing.reporting.runs import Run

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a93a0",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ee",
    "xtick.color": "#444c57",
    "ytick.color": "#444c57",
    "legend.frameon": False,
}
SCORES = ("raw scores", "next-neighbour-normalised scores")
DISTRIBUTIONS = ("psnr", "ssim", "linf", "ssimulacra2")
PASSIVE = "#8a93a0"
ACTIVE = ("#1f5fbf", "#d9730d", "#2a8a57", "#8b4fb3")
STRENGTH_UNITS = {
    "rotation": "angle (degrees)",
    "center_crop": "share of the area kept",
    "resize": "share of the area",
    "blur": "kernel (pixels)",
    "jpeg": "quality",
    "contrast": "factor",
    "brightness": "factor",
    "hue": "shift (turns)",
}


def colours(runs: Sequence[Run]) -> dict[str, str]:
    """Grey for the first passive run, a colour for each other one."""
    remaining = iter(ACTIVE * len(runs))
    passive = [run.name for run in runs if not run.active][:1]
    return {run.name: PASSIVE if run.name in passive else next(remaining) for run in runs}


@mpl.rc_context(STYLE)
def recall_bars(table: pd.DataFrame, runs: Sequence[Run], metric: str = "R@1") -> Figure:
    """Mean per attack, one bar per run, in the order of the table.

    Args:
        table: of ``recall.recall_table``.
        runs: the same runs.
        metric: its name on the axis.
    """
    shown = [run for run in runs if run.name in table.columns]
    paint = colours(runs)
    places = np.arange(len(table))
    height = 0.8 / len(shown)
    figure, axis = _figure(7.2, 1.2 + 0.3 * len(table) * max(1.0, len(shown) / 2))
    for number, run in enumerate(shown):
        axis.barh(places + (number + 0.5) * height - 0.4, table[run.name], height, color=paint[run.name])
    means = [place for place, row in enumerate(table.index) if row in (MEAN, PUBLISHED_MEAN)]
    for place in means:
        axis.axhspan(place - 0.5, place + 0.5, color="#f1f4f8", zorder=0)
    axis.set_yticks(places, [label(row) for row in table.index])
    axis.set(xlabel=metric, xlim=(0, 1), ylim=(len(table) - 0.5, -0.5))
    axis.grid(axis="y", visible=False)
    _legend(figure, shown, paint)
    return figure


@mpl.rc_context(STYLE)
def precision_recall(runs: Sequence[Run], scores: Sequence[str] = SCORES) -> Figure:
    """Precision against recall of copy detection, with uAP in the legend.

    Args:
        runs: those without copy detection are left out.
        scores: of ``SCORES``, one panel each.
    """
    paint = colours(runs)
    figure = Figure(figsize=(4.7 * len(scores), 3.6), layout="constrained")
    axes = figure.subplots(1, len(scores), squeeze=False)[0]
    for axis, title in zip(axes, scores, strict=True):
        for run in runs:
            if run.copy_detection is None:
                continue
            found = copy_detection.pairs(run, normalised=title == SCORES[1])
            recall, precision = copy_detection.precision_recall(found)
            text = f"{run.name}: uAP {copy_detection.average_precision(found):.3f}"
            _curve(axis, recall, precision, paint[run.name], text)
        axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axis.set_title(title if len(scores) > 1 else "")
        axis.legend(loc="best")
    return figure


@mpl.rc_context(STYLE)
def strength(table: pd.DataFrame, runs: Sequence[Run], metric: str = "R@1") -> Figure:
    """Mean against the strength of each attack, with the band of its 95 % interval.

    Args:
        table: of ``recall.strength_table``.
        runs: the same runs.
        metric: its name on the axis.
    """
    attacks = [name for name in STRENGTH_UNITS if name in set(table["attack"])]
    attacks += sorted(set(table["attack"]) - set(attacks))
    columns = min(4, len(attacks))
    lines = -(-len(attacks) // columns)
    paint = colours(runs)
    figure = Figure(figsize=(2.9 * columns + 0.3, 2.5 * lines + 0.3), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axis, name in zip(axes.flat, attacks, strict=False):
        for run, rows in table[table["attack"] == name].groupby("run", sort=False):
            axis.fill_between(rows["strength"], rows["low"], rows["high"], color=paint[run], alpha=0.15, lw=0)
            axis.plot(rows["strength"], rows["mean"], "o-", ms=3, lw=1.6, color=paint[run])
        axis.set(
            title=name.replace("_", " "), xlabel=STRENGTH_UNITS.get(name, "strength"), ylim=(-0.03, 1.03)
        )
    for axis in axes[:, 0]:
        axis.set_ylabel(metric)
    for axis in axes.flat[len(attacks) :]:
        axis.set_visible(False)
    shown = [run for run in runs if run.name in set(table["run"])]
    _legend(figure, shown, paint)
    return figure


@mpl.rc_context(STYLE)
def stays(table: pd.DataFrame, runs: Sequence[Run]) -> Figure:
    """Share of copies in the cell of the original, per attack, with 95 % intervals.

    Args:
        table: of ``cells.stay_table``.
        runs: the same runs.
    """
    order = list(dict.fromkeys(zip(table["attack"], table["attack_param"], strict=True)))
    paint = colours(runs)
    shown = [run for run in runs if run.name in set(table["run"])]
    figure, axis = _figure(5.4, 1.0 + 0.25 * len(order))
    for number, run in enumerate(shown):
        rows = table[table["run"] == run.name]
        keys = zip(rows["attack"], rows["attack_param"], strict=True)
        places = np.array([order.index(key) for key in keys]) + 0.22 * (number - (len(shown) - 1) / 2)
        axis.hlines(places, rows["low"], rows["high"], color=paint[run.name], lw=1.6)
        axis.plot(rows["stays"], places, "o", ms=5, color=paint[run.name], label=run.name)
    axis.set_yticks(range(len(order)), [label(attack) for attack in order])
    axis.set(xlabel="share of copies in the cell of the original", xlim=(-0.02, 1.02))
    axis.set_ylim(len(order) - 0.5, -0.5)
    figure.legend(loc="outside upper right", ncols=len(shown))
    return figure


@mpl.rc_context(STYLE)
def errors(runs: Sequence[Run], attack: tuple[str, str] = ("none", "")) -> Figure | None:
    """Histograms of the reconstruction error of the copies of one attack, and of other images.

    Returns:
        ``None`` when no run was measured.
    """
    measured = {}
    for run in runs:
        rows = cells.cells(run)
        chosen = rows[(rows["attack"] == attack[0]) & (rows["attack_param"] == attack[1])]
        if not chosen.empty:
            measured[run.name] = chosen
    if not measured:
        return None
    paint = colours(runs)
    values = pd.concat([rows[["error", "error_other"]] for rows in measured.values()])
    bins = np.linspace(0, 1.02 * float(values.max().max()) or 1.0, 41)
    others = pd.concat([rows["error_other"] for rows in measured.values()])
    figure, axis = _figure(5.4, 3.3)
    for name, rows in measured.items():
        text = f"{name}, mean {rows['error'].mean():.3f}"
        _histogram(axis, rows["error"].to_numpy(), bins, paint[name], text)
    _histogram(axis, others.to_numpy(), bins, "#c2410c", f"non-matching, mean {others.mean():.3f}")
    axis.set(xlabel="squared L2 distance to the reconstruction of the original", ylabel="share of copies")
    axis.set_title(f"after {label(attack)}" if attack[0] != "none" else "released files, not edited")
    _legend_above_bars(axis, lines=len(measured) + 1)
    return figure


@mpl.rc_context(STYLE)
def search_times(table: pd.DataFrame, runs: Sequence[Run]) -> Figure:
    """Milliseconds per query against nprobe, median with the range from the fastest to the slowest tenth.

    Args:
        table: of ``cells.search_times``.
        runs: the same runs.
    """
    paint = colours(runs)
    figure, axis = _figure(5.4, 3.3)
    for name, rows in table.groupby("run", sort=False):
        axis.fill_between(rows["nprobe"], rows["p10_ms"], rows["p90_ms"], color=paint[name], alpha=0.15, lw=0)
        axis.plot(rows["nprobe"], rows["median_ms"], "o-", ms=4, color=paint[name], label=name)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted(set(table["nprobe"])), sorted(set(table["nprobe"])))
    axis.set(xlabel="cells visited (nprobe)", ylabel="time per query (ms)")
    axis.set_ylim(bottom=0)
    axis.legend()
    return figure


@mpl.rc_context(STYLE)
def quality(runs: Sequence[Run], measures: Sequence[str] = DISTRIBUTIONS[:3]) -> Figure | None:
    """Distributions of PSNR, SSIM and L-inf of released images that changed.

    Args:
        runs: their manifests are read.
        measures: of ``QUALITY_UNITS``, one panel each.

    Returns:
        ``None`` when nothing changed in any run, or no run has all the measures.
    """
    changed = {}
    for run in runs:
        rows = run.released
        rows = rows[np.isfinite(rows["psnr"].astype(float))]
        if not rows.empty and all(each in rows and rows[each].notna().all() for each in measures):
            changed[run.name] = rows
    if not changed:
        return None
    paint = colours(runs)
    figure = Figure(figsize=(3.4 * len(measures), 2.6), layout="constrained")
    axes = figure.subplots(1, len(measures), squeeze=False)[0]
    for axis, column in zip(axes, measures, strict=True):
        values = np.concatenate([rows[column].to_numpy(float) for rows in changed.values()])
        bins = _bins(column, values)
        for run_name, rows in changed.items():
            _histogram(axis, rows[column].to_numpy(float), bins, paint[run_name], run_name)
        axis.set_xlabel(QUALITY_UNITS[column])
        if column == "linf":
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("share of images")
    if len(changed) > 1:
        _legend_above_bars(axes[0], lines=len(changed))
    return figure


def _bins(column: str, values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if column == "linf":
        step = max(1, int(np.ceil((high - low) / 20)))
        return np.arange(low - 0.5, high + step, step)
    margin = max(0.02 * (high - low), 1e-4)
    return np.linspace(low - margin, high + margin, 21)


def _histogram(axis: Axes, values: np.ndarray, bins: np.ndarray, colour: str, text: str) -> None:
    weights = np.full(len(values), 1 / len(values))
    axis.hist(
        values,
        bins.tolist(),
        weights=weights,
        color=colour,
        alpha=0.55,
        label=text,
        edgecolor="white",
        lw=0.4,
    )


def _legend_above_bars(axis: Axes, lines: int) -> None:
    """A legend in room of its own: no bar reaches up to it."""
    axis.set_ylim(top=axis.get_ylim()[1] * (1 + 0.16 * lines))
    axis.legend(loc="upper right")


def _curve(axis: Axes, recall: np.ndarray, precision: np.ndarray, colour: str, text: str) -> None:
    # A vertical line down from the last point would claim a recall that was not reached.
    start = np.zeros(len(recall[:1]))  # nothing when no match was found at all
    axis.plot(np.r_[start, recall], np.r_[precision[:1], precision], color=colour, lw=1.8, label=text)
    axis.plot(recall[-1:], precision[-1:], "o", ms=4, color=colour)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _legend(figure: Figure, runs: Sequence[Run], paint: dict[str, str]) -> None:
    patches = [Patch(color=paint[run.name]) for run in runs]
    figure.legend(patches, [run.name for run in runs], loc="outside upper right", ncols=len(runs))
