"""The figure of several entries per image."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from active_indexing.reporting.plots import ACTIVE, PASSIVE, STYLE

PAINT = {"passive": PASSIVE, "active": ACTIVE[0]}


@mpl.rc_context(STYLE)
def recall_against_bytes(table: pd.DataFrame, nprobes: Sequence[int]) -> Figure:
    """Recall against bytes per image, with more entries, with bigger codes and with more probes.

    Args:
        table: of ``scripts/bench_entries.py``; the index of the first row is the one with more entries.
        nprobes: a panel each; rows with a greater nprobe are crosses in the last one.
    """
    table = table.astype({"recall": float, "low": float, "high": float})
    drawn = Figure(figsize=(4.3 * len(nprobes), 3.7), layout="constrained")
    axes = drawn.subplots(1, len(nprobes), squeeze=False, sharey=True)[0]
    base = table["index"].iloc[0]
    for axis, nprobe in zip(axes, nprobes, strict=True):
        shown = table[table["nprobe"] == nprobe]
        for arm, colour in PAINT.items():
            of_arm = shown[shown["arm"] == arm]
            _curve(axis, of_arm[of_arm["index"] == base], colour, f"{arm}, more entries")
            bigger = of_arm[(of_arm["index"] != base) | (of_arm["entries"] == 1)]
            axis.plot(
                bigger["bytes"], bigger["recall"], "s:", ms=4, color=colour, label=f"{arm}, bigger codes"
            )
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted(set(table["bytes"])), sorted(set(table["bytes"])), rotation=60, fontsize=8)
        axis.minorticks_off()
        axis.set(title=f"{base}, nprobe {nprobe}", xlabel="bytes per image")
    more = table[(table["nprobe"] > max(nprobes)) & (table["index"] == base)]
    for arm, rows in more.groupby("arm"):
        axes[-1].plot(rows["bytes"], rows["recall"], "x", ms=6, color=PAINT[arm])
        text = f"nprobe {', '.join(map(str, rows['nprobe']))} "
        place = rows["bytes"].min(), rows["recall"].max()
        axes[-1].annotate(text, place, xytext=(0, 6), textcoords="offset points", fontsize=7, ha="center")
    axes[0].set_ylabel("R@1, mean of the attacks")
    axes[0].legend(fontsize=8)
    return drawn


def _curve(axis: Axes, rows: pd.DataFrame, colour: str, text: str) -> None:
    axis.fill_between(rows["bytes"], rows["low"], rows["high"], color=colour, alpha=0.15, lw=0)
    axis.plot(rows["bytes"], rows["recall"], "o-", ms=4, lw=1.8, color=colour, label=text)
    for row in rows.itertuples():
        axis.annotate(
            f"K={row.entries}",
            (row.bytes, row.recall),
            xytext=(4, -10),
            textcoords="offset points",
            fontsize=7,
        )
