"""How often an edited image stays in its cell, and how far it lands from what the index remembers.

Reads ``cells.csv`` and ``search_times.csv``, which ``scripts/measure_cells.py`` adds to an output folder.
"""

from __future__ import annotations

import pandas as pd

from active_indexing.metrics.bootstrap import drawn_means, percentile_ends
from active_indexing.reporting.recall import PUBLISHED_ORDER
from active_indexing.reporting.runs import Run

CELLS = "cells.csv"
SEARCH_TIMES = "search_times.csv"
CELL_COLUMNS = (
    "image_index", "attack", "attack_param", "cell_original", "cell_edited", "error", "error_other",
)  # fmt: skip


def cells(run: Run) -> pd.DataFrame:
    """``cells.csv``: one row per released image and attack; no rows when it was not measured.

    Columns: image_index, attack, attack_param, cell_original and cell_edited (empty without cells), error
    (squared L2 distance between the copy's descriptor and what the index remembers of the image),
    error_other (the same with the reconstruction of another image).
    """
    columns = (
        "image_index",
        "attack",
        "attack_param",
        "cell_original",
        "cell_edited",
        "error",
        "error_other",
    )
    rows = run.table(CELLS, columns)
    for column in columns[3:]:
        rows[column] = pd.to_numeric(rows[column])
    return rows


def stay_table(runs: list[Run]) -> pd.DataFrame:
    """Share of copies in the cell of their image's entry, per attack.

    The published notebook prints this share of the random chain (``auto``) under the name of a failure rate.

    Returns:
        Columns run, attack, attack_param, n, stays, low, high (95 % bootstrap interval over images).
    """
    parts = []
    for run in runs:
        rows = cells(run).dropna(subset=["cell_original", "cell_edited"])
        if rows.empty:
            continue
        rows = rows.assign(stays=(rows["cell_original"] == rows["cell_edited"]).astype(float))
        matrix = rows.pivot_table(
            index="image_index", columns=["attack", "attack_param"], values="stays", sort=False
        )
        matrix = matrix[sorted(matrix.columns, key=_place)]
        low, high = percentile_ends(drawn_means(matrix.to_numpy()))
        frame = matrix.mean().rename("stays").reset_index().assign(run=run.name, n=matrix.count().to_numpy())
        parts.append(frame.assign(low=low, high=high))
    columns = ["run", "attack", "attack_param", "n", "stays", "low", "high"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def error_table(runs: list[Run], attacks: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    """Mean and standard deviation of the reconstruction error of some attacks, and of other images."""
    rows = {}
    for run in runs:
        measured = cells(run)
        for attack, param in attacks:
            chosen = measured[(measured["attack"] == attack) & (measured["attack_param"] == param)]
            if not chosen.empty:
                rows[run.name, f"{attack} {param}".strip()] = chosen["error"].agg(["count", "mean", "std"])
                others = chosen["error_other"].agg(["count", "mean", "std"])
                rows[run.name, f"other images, {attack} {param}".strip()] = others
    return pd.DataFrame(rows).T


def search_times(runs: list[Run]) -> pd.DataFrame:
    """``search_times.csv`` of every run that has it: run, nprobe, queries, and milliseconds per query."""
    tables = [run.table(SEARCH_TIMES).assign(run=run.name) for run in runs]
    tables = [table for table in tables if not table.empty]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["run", "nprobe", "queries"])


def _place(attack: tuple[str, str]) -> int:
    return PUBLISHED_ORDER.index(attack) if attack in PUBLISHED_ORDER else len(PUBLISHED_ORDER)
