"""One self-contained HTML page about one run, or several side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from active_indexing.artefacts.atomic import write_text
from active_indexing.reporting import cells, copy_detection, gallery, image_quality, lost_copies, plots
from active_indexing.reporting.recall import (
    MEAN,
    PUBLISHED_MEAN,
    PUBLISHED_ORDER,
    label,
    recall_table,
    strength_table,
)
from active_indexing.reporting.runs import Run, baseline_and_best, open_runs, with_baseline
from active_indexing.reporting.verdict import main_run, verdict

REPORT = "report.html"
ROWS_SHOWN = 200
"""Longest list of files in the page; a sentence says how many there are."""

CONTENTS = {
    "recall": "Recall",
    "lost": "Lost copies",
    "detection": "Copy detection",
    "quality": "Image quality",
    "gallery": "Gallery",
    "skipped": "Skipped files",
    "failed": "Failed attacks",
    "settings": "How it was made",
}
"""Sections of the page, in order, and what the table of contents calls them."""


def write_report(folders: Sequence[Path]) -> Path:
    """Write ``report.html`` into the last folder.

    Args:
        folders: output folders of ``main.py``; with a passive and an active one the page compares them.

    Returns:
        The page; it needs no other file and no network.

    Raises:
        FileNotFoundError: a folder holds no finished run.
        ValueError: no folder, or runs of different images, which cannot be compared.
    """
    if not folders:
        raise ValueError("a report needs at least one output folder of main.py.")
    runs = open_runs(folders)
    target = Path(folders[-1]) / REPORT
    write_text(target, page(runs))
    return target


def page(runs: list[Run]) -> str:
    """The HTML of the report."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["share"] = lambda value: "" if pd.isna(value) else f"{value:.3f}"
    environment.filters["signed"] = _signed
    comparable = [run for run in runs if not run.is_grid] or runs
    shown = main_run(comparable)
    searched = with_baseline(comparable)
    recall = recall_table(searched)
    lost, copies = lost_copies.lost_copies(shown), copy_detection.average_precision_table(runs)
    curves = _curves(runs, comparable)
    absent = {"lost": lost is None, "detection": not curves and copies.empty}
    return environment.get_template("page.html").render(
        title=" and ".join(run.name for run in runs),
        contents=[(place, name) for place, name in CONTENTS.items() if not absent.get(place)],
        verdict=verdict(searched, recall),
        tiles=_tiles(searched, recall),
        recall=_recall_rows(recall, searched),
        recall_runs=[run.name for run in searched if run.name in recall.columns],
        viewed=_viewed(recall, shown),
        colours=plots.colours(searched),
        compared="difference" in recall.columns,
        lost=lost,
        copy_detection=copies.reset_index().to_dict("records"),
        curves=curves,
        quality=_quality_rows(runs),
        quality_figures=_quality_figures(runs),
        cards=gallery.cards(shown),
        gallery_run=shown,
        amplification=gallery.AMPLIFICATION,
        runs=runs,
        skipped=[_skipped(run) for run in runs],
        failures=[_failures(run) for run in runs],
        notes=shown.released[shown.released["reason"] != ""].head(ROWS_SHOWN).to_dict("records"),
        settings=_settings(runs),
        rows_shown=ROWS_SHOWN,
    )


def _tiles(runs: list[Run], recall: pd.DataFrame) -> list[tuple[str, str]]:
    """The figures at the top: name and value."""
    shown = main_run(runs)
    pair = baseline_and_best(runs) or (shown,)
    tiles = []
    if not recall.empty:
        values = [f"{recall.loc[[MEAN], run.name].item():.3f}" for run in pair if run.name in recall.columns]
        tiles.append(("R@1, mean of attacks", " → ".join(values)))
    found = [run.content["copy_detection"]["uAP"] for run in pair if run.content.get("copy_detection")]
    if found:
        tiles.append(("uAP, copy detection", " → ".join(f"{value:.3f}" for value in found)))
    quality = image_quality.quality_table({shown.name: shown.folder})
    psnr = quality.loc[(shown.name, "psnr")]
    if psnr["count"]:
        tiles.append(("PSNR, mean (lowest)", f"{psnr['mean']:.1f} ({psnr['min']:.1f}) dB"))
    if (shown.name, "ssimulacra2") in quality.index:
        seen = quality.loc[(shown.name, "ssimulacra2")]
        tiles.append(("SSIMULACRA2, mean (lowest)", f"{seen['mean']:.1f} ({seen['min']:.1f})"))
    tiles.append(("released", f"{len(shown.released):,}"))
    tiles.append(("skipped", f"{len(shown.skipped):,}"))
    return tiles


def _recall_rows(recall: pd.DataFrame, runs: list[Run]) -> list[dict[str, Any]]:
    rows = []
    for attack, row in recall.iterrows():
        values = [row[run.name] for run in runs if run.name in recall.columns]
        low, high = row.get("low", float("nan")), row.get("high", float("nan"))
        rows.append(
            {
                "label": label(attack),
                "mean": attack in (MEAN, PUBLISHED_MEAN),
                "n": int(row["n"]),
                "values": values,
                "difference": row.get("difference"),
                "low": low,
                "high": high,
                "tone": "up" if low > 0 else "down" if high < 0 else "",
            }
        )
    return rows


def _viewed(recall: pd.DataFrame, run: Run) -> dict[str, Any] | None:
    """Recall of a run with views of its copies, row by row of the table; ``None`` when not measured."""
    table = run.content.get("views_retrieval")
    if recall.empty or not table:
        return None
    found = {(row["attack"], row["attack_param"]): row["r@1"] for row in table}
    means = {MEAN: list(found), PUBLISHED_MEAN: [each for each in PUBLISHED_ORDER if each in found]}
    values = []
    for attack in recall.index:
        known = [found[each] for each in means.get(attack, [attack]) if each in found]
        values.append(sum(known) / len(known) if known else float("nan"))
    return {"run": run.name, "images": max(row["n"] for row in table), "values": values}


def _curves(runs: list[Run], comparable: list[Run]) -> list[tuple[str, str]]:
    """Description and data URL of each curve there is data for."""
    made: list[tuple[str, Figure | None]] = []
    if any(run.copy_detection is not None for run in comparable):
        for scores in plots.SCORES:
            title = f"Copy detection, {scores}"
            made.append((title, plots.precision_recall(comparable, [scores])))
    searched = with_baseline(runs)
    strengths = strength_table(searched)
    if not strengths.empty:
        made.append(("R@1 against the strength of the attack", plots.strength(strengths, searched)))
    staying = cells.stay_table(comparable)
    if not staying.empty:
        made.append(("Copies that stay in the cell of their original", plots.stays(staying, comparable)))
    made.append(("Reconstruction error of the released files", plots.errors(comparable)))
    times = cells.search_times(comparable)
    if not times.empty:
        made.append(("Search time against cells visited", plots.search_times(times, comparable)))
    return [(title, _svg(figure)) for title, figure in made if figure is not None]


def _quality_rows(runs: list[Run]) -> list[dict[str, Any]]:
    table = image_quality.quality_table({run.name: run.folder for run in runs})
    rows = []
    for (run, measure), row in table[table["count"] > 0].iterrows():
        digits = _QUALITY_DIGITS[measure]
        figures = [f"{row[key]:.{digits}f}" for key in ("mean", "std", "min", "max")]
        names = {"run": run, "measure": plots.QUALITY_UNITS[measure], "images": int(row["count"])}
        rows.append({**names, "figures": figures})
    return rows


_QUALITY_DIGITS = {
    "psnr": 2,
    "ssim": 4,
    "linf": 1,
    "ssimulacra2": 1,
    "ciede2000_p99": 2,
    "ciede2000_visible": 3,
    "butteraugli": 2,
    "butteraugli_norm": 2,
}


def _quality_figures(runs: list[Run]) -> list[tuple[str, str]]:
    shown = [(measure, plots.QUALITY_UNITS[measure]) for measure in plots.DISTRIBUTIONS]
    figures = [(name, plots.quality(runs, [measure])) for measure, name in shown]
    return [(f"Distribution of {name}", _svg(figure)) for name, figure in figures if figure is not None]


def _skipped(run: Run) -> dict[str, Any]:
    rows = run.skipped[["source", "reason"]].head(ROWS_SHOWN).to_dict("records")
    for row in rows:
        row["source"] = run.short_name(row["source"])
    return {"run": run.name, "count": len(run.skipped), "rows": rows}


def _failures(run: Run) -> dict[str, Any]:
    """Failed attacks, equal ones together, most frequent first."""
    keys = ["stage", "attack", "attack_param", "reason"]
    groups = run.failures.groupby(keys, dropna=False).size().sort_values(ascending=False, kind="stable")
    rows = groups.rename("count").reset_index().head(ROWS_SHOWN).to_dict("records")
    return {"run": run.name, "count": len(run.failures), "rows": rows}


def _settings(runs: list[Run]) -> list[tuple[str, list[str]]]:
    """Every setting, version and timing, one value per run."""
    flat = [_flat({k: run.content.get(k, {}) for k in _TOLD}) for run in runs]
    names = list(dict.fromkeys(name for each in flat for name in each))
    return [(name, [each.get(name, "") for each in flat]) for name in names]


_TOLD = ("config", "descriptor", "index", "versions", "seconds")


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flat(value, f"{name}.")
        else:
            flat[name] = "" if value is None else str(value)
    return flat


def _svg(figure: Figure) -> str:
    content = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "report"}):  # the same figures give the same bytes
        figure.savefig(content, format="svg", metadata={"Date": None}, transparent=True)
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue().encode()).decode()}"


def _signed(value: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}") if abs(value) >= 0.0005 else "0.000"
