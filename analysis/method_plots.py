"""Figures of methods of activation side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from active_indexing.reporting.plots import ACTIVE, PASSIVE, STYLE


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method, grey for ``passive``."""
    others = [method for method in dict.fromkeys(methods) if method != "passive"]
    return dict(zip(others, ACTIVE * len(others), strict=False)) | {"passive": PASSIVE}


QUALITIES = {
    "psnr": "PSNR of the released files (dB)",
    "ssimulacra2": "mean SSIMULACRA2 of the released files",
}
"""Columns of a summary that a recall is bought with, and their axes."""

_HOW_STRONG = re.compile(r"[:,](strength|psnr)=[^,]+")
"""What tells the points of one method apart, and not two methods."""


@mpl.rc_context(STYLE)
def recall_against(quality: str, table: pd.DataFrame) -> Figure:
    """Mean R@1 against the quality of the released files, one curve per method, one panel per nprobe.

    Args:
        quality: one of ``QUALITIES``.
        table: columns method, nprobe, recall, recall_low, recall_high, and the quality; the method
            ``passive`` is a line. A method's strengths are points of its curve.
    """
    table = table.assign(method=[_HOW_STRONG.sub("", method) for method in table["method"]])
    paint = method_colours(table["method"].tolist())
    probes = list(dict.fromkeys(table["nprobe"]))
    figure = Figure(figsize=(0.8 + 4.4 * len(probes), 4.2), layout="constrained")
    axes = figure.subplots(1, len(probes), squeeze=False, sharey=True)[0]
    for axis, probe in zip(axes, probes, strict=True):
        for method, rows in table[table["nprobe"] == probe].groupby("method", sort=False):
            colour = paint[str(method)]
            if method == "passive":
                axis.axhline(rows["recall"].iloc[0], color=colour, ls="--", lw=1.6, label=method)
                continue
            rows = rows.sort_values(quality)
            axis.vlines(rows[quality], rows["recall_low"], rows["recall_high"], color=colour, alpha=0.3, lw=3)
            axis.plot(rows[quality], rows["recall"], "o-", ms=4, lw=1.8, color=colour, label=method)
        axis.set(title=f"nprobe {probe}", xlabel=QUALITIES[quality])
    axes[0].set_ylabel("R@1, mean of 15 attacks")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1 if len(probes) == 1 else 2)
    return figure


@mpl.rc_context(STYLE)
def seconds_against_megapixels(table: pd.DataFrame) -> Figure:
    """Seconds of activation per image against its megapixels, and those of the bare passes.

    Args:
        table: columns method, megapixels, passes_s, rest_s.
    """
    paint = method_colours(table["method"].tolist())
    figure = Figure(figsize=(5.8, 4.2), layout="constrained")
    axis = figure.subplots()
    for method, rows in table.groupby("method", sort=False):
        rows = rows.sort_values("megapixels")
        colour, seconds = paint[str(method)], rows["passes_s"] + rows["rest_s"]
        axis.plot(rows["megapixels"], seconds, "o-", ms=4, lw=1.8, color=colour, label=str(method))
        axis.plot(rows["megapixels"], rows["passes_s"], ls=":", lw=1.2, color=colour)
    sizes = sorted(set(table["megapixels"].round(2)))
    axis.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="seconds per image, one thread")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_title("without decoding and encoding; dotted: its network passes alone")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=1)
    return figure
