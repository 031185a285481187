"""The figure of kinds of index: what bytes per image and visited cells buy."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from active_indexing.reporting.plots import ACTIVE, PASSIVE, STYLE

EXACT = "exact search, float32"
"""Name of the index that is no index."""

PAINT = {"passive": PASSIVE, "active": ACTIVE[0]}
MARKERS = "osD^vP*X"


@mpl.rc_context(STYLE)
def recall_by_index(table: pd.DataFrame) -> Figure:
    """Recall against bytes per image, a panel for each nprobe; dashed lines are the exact search.

    Args:
        table: of ``scripts/bench_index.py``: arm, index, entries, bytes, nprobe, scanned, recall.
    """
    table = table.astype({"recall": float, "scanned": float})
    exact, table = table[table["index"] == EXACT], table[table["index"] != EXACT]
    probes = sorted(set(table["nprobe"]))
    drawn = Figure(figsize=(4.3 * len(probes), 4.4), layout="constrained")
    axes = drawn.subplots(1, len(probes), squeeze=False, sharey=True)[0]
    kinds = list(dict.fromkeys(zip(table["index"], table["entries"], strict=True)))
    marker = {kind: MARKERS[place % len(MARKERS)] for place, kind in enumerate(kinds)}
    for axis, probe in zip(axes, probes, strict=True):
        shown = table[table["nprobe"] == probe]
        for row in exact.itertuples():
            axis.axhline(row.recall, color=PAINT[str(row.arm)], ls="--", lw=1.2)
        for _, row in shown.iterrows():
            sign, colour = marker[row["index"], row["entries"]], PAINT[row["arm"]]
            axis.plot(row["bytes"], row["recall"], sign, color=colour, ms=7)
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted(set(table["bytes"])), sorted(set(table["bytes"])), rotation=60, fontsize=8)
        axis.minorticks_off()
        share = 100 * shown["scanned"].mean()
        axis.set(title=f"nprobe {probe}, about {share:.1f} % of the codes", xlabel="bytes of codes per image")
    axes[0].set_ylabel("R@1, mean of the attacks")
    for kind, sign in marker.items():
        text = kind[0] + (f", {kind[1]} entries" if kind[1] > 1 else "")
        axes[-1].plot([], [], sign, color="0.4", label=text)
    for arm, colour in PAINT.items():
        axes[-1].plot([], [], "-", color=colour, lw=3, label=arm)
    axes[-1].plot([], [], "--", color="0.4", lw=1.2, label="exact search")
    drawn.legend(loc="outside lower center", ncols=4, fontsize=8)
    return drawn
