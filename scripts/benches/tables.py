"""Rows of the tables of ``bench_activation.py``, and their files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts import atomic, csv_tables
from active_indexing.records import ManifestRow
from active_indexing.release.manifest import quality_table
from analysis.gains import Estimate, familiarity, gain, gain_ratio, recall
from scripts.benches.arms import PASSIVE, PUBLISHED
from scripts.benches.costs import Cost
from scripts.benches.outcomes import ATTACKS, Outcome

HARD = "hard to protect"
"""How the manifest's reason begins for an image that the method can do little for."""

_UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))

SHOWN = {
    "method": "method", "psnr_asked": "asked dB", "nprobe": "nprobe", "recall": "R@1", "recall_seen": "seen",
    "recall_unseen": "unseen", "uap": "uAP", "gain_ratio": "gain ratio", "gain_ratio_low": "from",
    "gain_ratio_high": "to", "psnr": "PSNR", "psnr_min": "worst", "ssim": "SSIM", "ssim_min": "worst",
    "linf": "L-inf", "linf_max": "worst", "ssimulacra2": "SSIMULACRA2", "ssimulacra2_min": "worst",
    "butteraugli": "Butteraugli", "butteraugli_max": "worst", "butteraugli_norm": "3-norm",
    "gain_ratio_ssimulacra2": "at equal SSIMULACRA2", "gain_ratio_butteraugli": "at equal Butteraugli",
    "hard": "hard",
}  # fmt: skip
"""Columns of the printed table, and their heads there."""

_DIGITS = {
    "psnr_asked": 1, "gain_ratio": 2, "gain_ratio_low": 2, "gain_ratio_high": 2, "psnr": 2, "psnr_min": 2,
    "ssim": 4, "ssim_min": 4, "linf": 1, "linf_max": 0, "megapixels": 2, "ratio": 2, "both_ways": 0,
    "forward": 0, "passes": 1, "ssimulacra2": 1, "ssimulacra2_min": 1, "butteraugli": 2, "butteraugli_max": 2,
    "butteraugli_norm": 2, "gain_ratio_ssimulacra2": 2, "gain_ratio_butteraugli": 2,
}  # fmt: skip
"""Decimals of printed figures; 3 of all others."""


def common_copies(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The same outcomes with only the copies that every arm has, so that arms can be compared."""
    there = [~np.isnan(hits) for outcome in outcomes for hits in outcome.hits.values()]
    everywhere = np.logical_and.reduce(there)
    return [
        replace(outcome, hits={n: np.where(everywhere, hits, np.nan) for n, hits in outcome.hits.items()})
        for outcome in outcomes
    ]


def attack_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row per arm, nprobe and attack."""
    rows = []
    for outcome in outcomes:
        for nprobe, hits in outcome.hits.items():
            for attack, column in zip(ATTACKS, hits.T, strict=True):
                rows.append(
                    {
                        "method": outcome.arm.spec,
                        "psnr_asked": outcome.arm.psnr,
                        "nprobe": nprobe,
                        "attack": attack.name,
                        "attack_param": attack.param_text,
                        "kind": familiarity(attack.name),
                        "n": int((~np.isnan(column)).sum()),
                        "r@1": _mean(column),
                    }
                )
    return rows


def attack_table(
    outcomes: Sequence[Outcome], label: Callable[[tuple[str, str]], str]
) -> list[dict[str, Any]]:
    """One row per attack, one column per arm, at the first nprobe; arms at the first PSNR of their method."""
    shown = {outcome.arm.spec: outcome for outcome in reversed(outcomes)}
    arms = [outcome for outcome in outcomes if shown[outcome.arm.spec] is outcome]
    rows = []
    for place, attack in enumerate(ATTACKS):
        row: dict[str, Any] = {"attack": label((attack.name, attack.param_text))}
        row["kind"] = familiarity(attack.name)
        for outcome in arms:
            row[outcome.arm.name] = _mean(next(iter(outcome.hits.values()))[:, place])
        rows.append(row)
    return rows


def summary_rows(outcomes: Sequence[Outcome], resamples: int, seed: int) -> list[dict[str, Any]]:
    """One row per arm and nprobe.

    Args:
        outcomes: the passive arm first, all on the same copies.
        resamples: sets of images drawn for the intervals.
        seed: of the draws.
    """
    published = {each.arm.psnr: each for each in outcomes if each.arm.spec == PUBLISHED}
    # Recall at one PSNR beside the published gain at another: how much quality the same gain costs.
    first = next(iter(published.values()), None)
    rows = []
    for outcome in outcomes:
        for nprobe, hits in outcome.hits.items():
            passive = outcomes[0].hits[nprobe]
            same = published.get(outcome.arm.psnr)
            row: dict[str, Any] = {"method": outcome.arm.spec, "psnr_asked": outcome.arm.psnr}
            row |= {"nprobe": nprobe, "images": len(outcome.rows), **_recalls(hits, resamples, seed)}
            row["uap"] = outcome.uap[nprobe]
            row |= _columns("gain", gain(hits, passive, resamples, seed))
            for name, beside in (("gain_ratio", same), ("gain_ratio_first", first)):
                ratio = _UNKNOWN
                if beside is not None and outcome.arm.active:
                    ratio = gain_ratio(hits, passive, beside.hits[nprobe], resamples, seed)
                row |= _columns(name, ratio)
            for name, damage in DAMAGES.items():
                row[f"gain_ratio_{name}"] = ratio_at_equal_damage(outcome, outcomes, nprobe, damage)
            rows.append(row | _quality(outcome))
    return rows


def ratio_at_equal_damage(
    outcome: Outcome, outcomes: Sequence[Outcome], nprobe: int, damage: Callable[[ManifestRow], float]
) -> float:
    """Gain over the published method's at the same mean damage, between its arms on straight lines.

    Args:
        outcome: of an arm.
        outcomes: the passive arm first, which has no damage and no gain; as many published ones as there are.
        nprobe: of the gains.
        damage: of one released image; 0 for one that did not change.

    Returns:
        The ratio; ``nan`` where no published arm is damaged as much, or the measure is missing.
    """
    gains = [
        (float(np.mean([damage(row) for row in each.rows])), _gain(each, outcomes[0], nprobe))
        for each in outcomes
        if each.rows and activation_name(each) == PUBLISHED
    ]
    known = sorted((mean, gained) for mean, gained in [(0.0, 0.0), *gains] if not np.isnan(mean))
    if not outcome.rows or not outcome.arm.active:
        return float("nan")
    own = float(np.mean([damage(row) for row in outcome.rows]))
    if np.isnan(own) or own > known[-1][0]:
        return float("nan")
    beside = float(np.interp(own, [mean for mean, _ in known], [gained for _, gained in known]))
    return _gain(outcome, outcomes[0], nprobe) / beside if beside > 0 else float("nan")


def activation_name(outcome: Outcome) -> str:
    """Name of an arm's method; ``passive`` for the passive arm."""
    return outcome.arm.activation.method if outcome.arm.active else PASSIVE


def _gain(outcome: Outcome, passive: Outcome, nprobe: int) -> float:
    return recall(outcome.hits[nprobe], 1, 0).value - recall(passive.hits[nprobe], 1, 0).value


def _ssimulacra2_damage(row: ManifestRow) -> float:
    return float("nan") if row.ssimulacra2 is None else 100 - row.ssimulacra2


def _butteraugli_damage(row: ManifestRow) -> float:
    return float("nan") if row.butteraugli is None else row.butteraugli


DAMAGES: dict[str, Callable[[ManifestRow], float]] = {
    "ssimulacra2": _ssimulacra2_damage,
    "butteraugli": _butteraugli_damage,
}
"""Damage to a released image, by the measures at which gains are compared."""


def cost_rows(costs: Mapping[tuple[str, str], Cost], share: float) -> list[dict[str, Any]]:
    """One row per method and size of the photos.

    Args:
        costs: (method, size as told) -> cost.
        share: of a pass that goes forward only, see ``bench_activation_cost``.
    """
    rows = []
    for (spec, size), cost in costs.items():
        work = cost.passes + cost.rest
        row = {"method": spec, "size": size, "megapixels": round(cost.megapixels, 3), "images": cost.images}
        seconds = {name: getattr(cost, name) for name in ("decode", "passes", "rest", "encode")}
        row |= {f"{name}_s": round(value, 4) for name, value in seconds.items()}
        row |= {"total_s": round(cost.decode + work + cost.encode, 4), "ratio": round(cost.ratio, 2)}
        row |= {"both_ways": cost.both_ways, "forward": cost.forward, "passes": round(cost.count(share), 2)}
        rows.append(row | {"peak_mib": None if cost.peak_mib is None else round(cost.peak_mib)})
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A CSV; unknown numbers are empty cells."""
    cells = ([None if _unknown(value) else value for value in row.values()] for row in rows)
    csv_tables.write_csv(path, list(rows[0]), cells)


def markdown(title: str, rows: Sequence[dict[str, Any]], shown: Mapping[str, str] | None = None) -> str:
    """A Markdown table of some columns."""
    shown = shown or {name: name for name in rows[0]}
    lines = [f"### {title}", "", f"| {' | '.join(shown.values())} |", f"| --- |{' --: |' * (len(shown) - 1)}"]
    lines += [f"| {' | '.join(_cell(name, row[name]) for name in shown)} |" for row in rows]
    return "\n".join(lines) + "\n"


def write_page(path: Path, parts: Sequence[str]) -> str:
    """Parts of a page with lines between them; the text that was written."""
    text = "\n".join(parts)
    atomic.write_text(path, text)
    return text


def _mean(hits: np.ndarray) -> float:
    known = hits[~np.isnan(hits)]
    return float(known.mean()) if len(known) else float("nan")


def _recalls(hits: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    columns = _columns("recall", recall(hits, resamples, seed))
    for kind in ("seen", "unseen"):
        chosen = [familiarity(attack.name) == kind for attack in ATTACKS]
        columns[f"recall_{kind}"] = recall(hits[:, chosen], 1, seed).value
    return columns


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _quality(outcome: Outcome) -> dict[str, Any]:
    """Mean and worst over released images; those that did not change have no PSNR."""
    table = quality_table(outcome.rows)
    columns: dict[str, Any] = {name: table[name] for name in ("released", "skipped", "unchanged")}
    for name, worst in WORST.items():
        measured = table.get(name, {})
        columns[name] = measured.get("mean", float("nan"))
        columns[f"{name}_{worst}"] = measured.get(worst, float("nan"))
    columns["hard"] = sum(HARD in row.reason for row in outcome.rows if outcome.arm.spec != PASSIVE)
    return columns


WORST = {
    "psnr": "min",
    "ssim": "min",
    "linf": "max",
    "ssimulacra2": "min",
    "ciede2000_p99": "max",
    "ciede2000_visible": "max",
    "butteraugli": "max",
    "butteraugli_norm": "max",
}
"""The worse end of every measure of the manifest."""


def _unknown(value: Any) -> bool:
    return isinstance(value, float) and np.isnan(value)


def _cell(name: str, value: Any) -> str:
    if value is None or _unknown(value):
        return ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS.get(name, 3)}f}"
    return str(value)


def report(folder: Path, name: str, title: str, rows: list[dict[str, Any]]) -> None:
    """Write a CSV and print it as a Markdown table."""
    if not rows:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n{title}\n\n| {' | '.join(rows[0])} |\n|{' --: |' * len(rows[0])}")
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row.values())
        print(f"| {' | '.join(cells)} |")
