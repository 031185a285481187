"""Recall per attack of several runs, with the difference between two of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from active_indexing.metrics.bootstrap import drawn_means, percentile_ends
from active_indexing.reporting.runs import METRICS, Run, baseline_and_best

PUBLISHED_ORDER = (
    ("none", ""), ("contrast", "0.5"), ("contrast", "2.0"), ("brightness", "0.5"), ("brightness", "2.0"),
    ("hue", "0.2"), ("blur", "11.0"), ("jpeg", "50.0"), ("rotation", "25.0"), ("rotation", "90.0"),
    ("center_crop", "0.5"), ("resize", "0.5"), ("meme_format", ""), ("auto", ""),
)  # fmt: skip
"""Columns of the published notebook's table; their plain mean is its last column."""

PUBLISHED_MEAN = ("mean of the published 14", "")
MEAN = ("mean of all attacks", "")


def recall_matrix(run: Run, metric: str = "r@1") -> pd.DataFrame:
    """One row per image, one column per (attack, parameter); ``nan`` where an attack failed.

    Raises:
        ValueError: the run made no retrieval.
    """
    if run.retrieval is None:
        raise ValueError(f"{run.folder} has no retrieval results: run main.py with --eval_retrieval True.")
    return run.retrieval.pivot_table(
        index="image_index", columns=["attack", "attack_param"], values=metric, sort=False
    )


def paired(matrices: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same tables with only the copies that every run has, so that their differences mean something.

    Raises:
        ValueError: there are none.
    """
    first, *rest = matrices.values()
    images = first.index
    attacks = first.columns
    for matrix in rest:
        images, attacks = images.intersection(matrix.index), attacks[attacks.isin(matrix.columns)]
    cut = {name: matrix.loc[images, attacks] for name, matrix in matrices.items()}
    if not len(images) or not len(attacks):
        raise ValueError(
            f"{' and '.join(matrices)} have no copies in common, so they cannot be compared: run main.py on "
            "the same --data_dir, or look at each run alone."
        )
    everywhere = np.logical_and.reduce([matrix.notna().to_numpy() for matrix in cut.values()])
    return {name: matrix.where(everywhere) for name, matrix in cut.items()}


def recall_table(runs: list[Run], metric: str = "r@1") -> pd.DataFrame:
    """Mean per attack of each run, published columns first, and how far two runs are apart.

    Args:
        runs: with retrieval results; others are left out.
        metric: ``r@1``, ``r@10``, ``r@100`` or ``ap``.

    Returns:
        Indexed by (attack, parameter): ``n`` copies, one column per run. With a passive and an active run
        also ``difference``, active minus passive on the copies that all runs have, and its 95 % bootstrap
        interval over images, ``low`` and ``high``; with one run the interval is of its own mean. The rows of
        means come after the attacks they are means of. No rows when no run has results.
    """
    runs = [run for run in runs if run.retrieval is not None]
    if not runs:
        return pd.DataFrame()
    matrices = paired({run.name: recall_matrix(run, metric) for run in runs})
    attacks, groups = _rows(next(iter(matrices.values())).columns.to_list())
    table = pd.DataFrame({"n": _sizes(matrices, attacks, groups)}, index=_index(groups))
    for name, matrix in matrices.items():
        table[name] = _grouped(matrix[attacks].mean().to_numpy()[None], groups)[0]
    draws = {n: _grouped(drawn_means(m[attacks].to_numpy()), groups) for n, m in matrices.items()}
    pair = baseline_and_best(runs)
    if pair is not None:
        before, after = (run.name for run in pair)
        table["difference"] = table[after] - table[before]
        table["low"], table["high"] = percentile_ends(draws[after] - draws[before])
    elif len(runs) == 1:
        table["low"], table["high"] = percentile_ends(draws[runs[0].name])
    return table


def agreement(table: pd.DataFrame, row: tuple[str, str] = MEAN) -> str:
    """Whether the interval of a difference says ``better``, ``worse`` or ``unclear``."""
    low, high = table.loc[[row], ["low", "high"]].to_numpy()[0]
    if low > 0:
        return "better"
    return "worse" if high < 0 else "unclear"


def strength_table(runs: list[Run], metric: str = "r@1") -> pd.DataFrame:
    """Mean against the strength of an attack, for attacks with three strengths or more.

    Returns:
        Columns run, attack, strength, n, mean, low, high (95 % bootstrap interval over images); no rows
        when no run has such attacks.
    """
    parts = []
    for run in runs:
        if run.retrieval is None:
            continue
        matrix = recall_matrix(run, metric)
        swept = [column for column in matrix.columns if column[1] != ""]
        sweeps = pd.Series([name for name, _ in swept], dtype=str).value_counts()
        columns = [column for column in swept if sweeps[column[0]] >= 3]
        if not columns:
            continue
        values = matrix[columns]
        low, high = percentile_ends(drawn_means(values.to_numpy()))
        frame = pd.DataFrame({"attack": [c[0] for c in columns], "strength": [float(c[1]) for c in columns]})
        frame = frame.assign(run=run.name, n=values.count().to_numpy(), mean=values.mean().to_numpy())
        parts.append(frame.assign(low=low, high=high))
    columns = ["run", "attack", "strength", "n", "mean", "low", "high"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts)[columns].sort_values(["attack", "run", "strength"], kind="stable")


def label(attack: tuple[str, str]) -> str:
    """How an attack is called in tables and figures: ``jpeg 50``."""
    name, param = attack
    number = param[:-2] if param.endswith(".0") and name not in ("contrast", "brightness") else param
    return f"{name.replace('_', ' ')} {number}".strip()


def _rows(found: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], dict[tuple[str, str], list[int]]]:
    """Attacks in the order of the table, and for every row of the table the attacks it is the mean of."""
    published = [attack for attack in PUBLISHED_ORDER if attack in found]
    others = [attack for attack in found if attack not in PUBLISHED_ORDER]
    attacks = published + others
    groups = {attack: [place] for place, attack in enumerate(published)}
    if len(published) == len(PUBLISHED_ORDER):
        groups[PUBLISHED_MEAN] = list(range(len(published)))
    groups |= {attack: [place + len(published)] for place, attack in enumerate(others)}
    groups[MEAN] = list(range(len(attacks)))
    return attacks, groups


def _grouped(values: np.ndarray, groups: dict[tuple[str, str], list[int]]) -> np.ndarray:
    return np.stack([values[:, places].mean(axis=1) for places in groups.values()], axis=1)


def _sizes(
    matrices: dict[str, pd.DataFrame],
    attacks: list[tuple[str, str]],
    groups: dict[tuple[str, str], list[int]],
) -> list[int]:
    sizes = next(iter(matrices.values()))[attacks].count().to_numpy()
    return [int(sizes[places].sum()) for places in groups.values()]


def _index(groups: dict[tuple[str, str], list[int]]) -> pd.MultiIndex:
    return pd.MultiIndex.from_tuples(list(groups), names=["attack", "attack_param"])


def retrieval_table(folder: Path) -> pd.DataFrame:
    """Mean of each metric per attack, in the order of the CSV.

    Args:
        folder: output folder with ``retr_df.csv``.

    Returns:
        Indexed by (attack, attack_param), columns n, r@1, r@10, r@100, ap. A parameter-less attack has the
        parameter "".
    """
    columns = ["image_index", "attack", "attack_param", *METRICS]
    rows = pd.read_csv(
        folder / "retr_df.csv", usecols=columns, dtype={"attack_param": str}, keep_default_na=False
    )
    groups = rows.groupby(["attack", "attack_param"], sort=False)
    table = groups[list(METRICS)].mean()
    table.insert(0, "n", groups.size())
    return table


def comparison(folders: dict[str, Path], metric: str = "r@1") -> pd.DataFrame:
    """One metric per attack, one column per run, and the mean of attacks as the last row.

    Args:
        folders: name of the column -> output folder.
        metric: one of ``METRICS``.
    """
    columns = {name: retrieval_table(folder)[metric] for name, folder in folders.items()}
    table = pd.DataFrame(columns)
    table.loc[("mean of attacks", ""), :] = table.mean()
    return table
