"""What a run showed, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from active_indexing.reporting.recall import MEAN, agreement
from active_indexing.reporting.runs import Run, baseline_and_best


@dataclass(frozen=True)
class Verdict:
    """The first thing a reader sees.

    Attributes:
        sentence: with the figures.
        remark: how far it can be trusted; may be empty.
        tone: ``better``, ``worse``, ``unclear`` or ``plain``.
    """

    sentence: str
    remark: str
    tone: str


def verdict(runs: list[Run], table: pd.DataFrame) -> Verdict:
    """Recall with its interval, image quality and skipped files.

    Args:
        runs: the runs of a report.
        table: their ``recall.recall_table``; empty when nothing was searched.
    """
    shown = main_run(runs)
    rest = f"{_quality(shown)}; {_skipped(shown)}."
    if shown.released.empty:
        return Verdict(f"No image was released; {_skipped(shown)}.", "", "worse")
    if table.empty:
        return Verdict(f"No copies were searched {rest}", "", "plain")
    row = table.loc[[MEAN]].iloc[0]
    attacks = sum(1 for name, _ in table.index if not name.startswith("mean of"))
    pair = baseline_and_best([run for run in runs if run.name in table.columns])
    where = f"{_evaluated(shown)}, {_many(attacks, 'attack')}"
    if pair is None:
        recall = f"{_percent(row[shown.name])}" if shown.name in table.columns else f"{_percent(row.iloc[1])}"
        low, high = (_percent(row[end]) for end in ("low", "high")) if "low" in row else ("", "")
        span = f" (95 % interval {low} to {high}, {where})" if low else f" ({where})"
        return Verdict(
            f"The right image comes back first for {recall} of its copies{span} {rest}", "", "plain"
        )
    before, after = (row[run.name] for run in pair)
    points = f"{_points(row['difference'])} points"
    span = f"95 % interval {_points(row['low'])} to {_points(row['high'])}"
    sentence = (
        f"With activation the right image comes back first for {_percent(after)} of its copies instead of "
        f"{_percent(before)} ({points}, {span}, {where}) {rest}"
    )
    return Verdict(sentence, _REMARKS[agreement(table)], agreement(table))


_REMARKS = {
    "better": "",
    "worse": "The interval lies below zero: activation made these images harder to find.",
    "unclear": "The interval includes zero: these images do not show a difference. More images would tell.",
}


def main_run(runs: list[Run]) -> Run:
    """The run that a report is about: the last active one, or else the last."""
    return ([run for run in runs if run.active] or runs)[-1]


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' if count != 1 else ''}"


def _evaluated(run: Run) -> str:
    released = _many(len(run.released), "image")
    return released if run.evaluated == len(run.released) else f"{run.evaluated:,} of {released}, drawn by id"


def _quality(run: Run) -> str:
    changed = run.released["psnr"].astype(float)
    changed = changed[np.isfinite(changed)]
    if changed.empty:
        return "with the images as they are"
    return f"at a mean PSNR of {changed.mean():.1f} dB"


def _skipped(run: Run) -> str:
    count, total = len(run.skipped), len(run.manifest)
    if not count:
        return f"none of {total:,} files was skipped"
    return f"{count:,} of {total:,} files {'was' if count == 1 else 'were'} skipped"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    if abs(share) < 0.0005:
        return "0.0"
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")
