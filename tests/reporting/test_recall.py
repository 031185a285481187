from __future__ import annotations

import json
from pathlib import Path

import pytest

from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.evaluation.tables import RETRIEVAL_COLUMNS, retrieval_row
from active_indexing.reporting import recall
from active_indexing.reporting.runs import Run, open_runs, with_baseline
from tests.reporting.outputs import query, write_output


def arms(tmp_path: Path) -> list[Run]:
    """Four images; passive finds 0 of 4 after blur and active 3 of 4; the screenshot of image 3 failed."""
    found = {"passive": [None] * 4, "active": [0, 0, 0, 1]}
    runs = []
    for arm, ranks in found.items():
        rows = [query(i, "overlay_onto_screenshot", "", 0) for i in range(4 if arm == "passive" else 3)]
        rows += [query(i, "blur", "11.0", rank) for i, rank in enumerate(ranks)]
        rows += [query(i, "none", "", 0) for i in range(4)]
        runs.append(write_output(tmp_path / arm, active=arm == "active", retrieval=rows))
    return runs


def test_published_columns_come_first_and_the_difference_is_active_minus_passive(tmp_path: Path) -> None:
    table = recall.recall_table(arms(tmp_path))
    assert list(table.index) == [
        ("none", ""), ("blur", "11.0"), ("overlay_onto_screenshot", ""), recall.MEAN,
    ]  # fmt: skip
    assert table.loc[[("blur", "11.0")], ["passive", "active", "difference"]].values.tolist() == [
        [0, 0.75, 0.75]
    ]
    assert table.loc[[("none", "")], ["difference", "low", "high"]].values.tolist() == [[0, 0, 0]]


def test_a_copy_that_failed_in_one_run_counts_in_none(tmp_path: Path) -> None:
    table = recall.recall_table(arms(tmp_path))
    assert table["n"].tolist() == [4, 4, 3, 11]


def test_the_interval_over_four_images_is_that_of_the_binomial(tmp_path: Path) -> None:
    # P(X <= 0) = 1/256 < 2.5 % < P(X <= 1) = 13/256 and P(X = 4) = 81/256 for X ~ B(4, 3/4)
    table = recall.recall_table(arms(tmp_path))
    assert table.loc[[("blur", "11.0")], ["low", "high"]].values.tolist() == [[0.25, 1.0]]


def test_the_mean_weighs_every_attack_the_same(tmp_path: Path) -> None:
    mean = recall.recall_table(arms(tmp_path)).loc[[recall.MEAN]]
    assert mean["active"].item() == pytest.approx((1 + 0.75 + 1) / 3)
    assert recall.agreement(recall.recall_table(arms(tmp_path))) == "better"


def test_the_published_mean_leaves_the_screenshot_out(tmp_path: Path) -> None:
    rows = [query(0, name, param, 0) for name, param in recall.PUBLISHED_ORDER]
    rows.append(query(0, "overlay_onto_screenshot", "", None))
    table = recall.recall_table([write_output(tmp_path / "a", active=True, retrieval=rows)])
    assert list(table.index[:14]) == list(recall.PUBLISHED_ORDER)
    assert table.loc[[recall.PUBLISHED_MEAN], "a"].item() == 1.0
    assert table.loc[[recall.MEAN], "a"].item() == pytest.approx(14 / 15)


def test_one_run_alone_has_the_interval_of_its_own_recall(tmp_path: Path) -> None:
    table = recall.recall_table(arms(tmp_path)[1:])
    assert list(table.columns) == ["n", "active", "low", "high"]
    assert table.loc[[("none", "")]].values.tolist() == [[4, 1, 1, 1]]


def test_runs_without_retrieval_give_an_empty_table(tmp_path: Path) -> None:
    run = write_output(tmp_path / "a", active=True)
    assert recall.recall_table([run]).empty
    with pytest.raises(
        ValueError, match=r"has no retrieval results: run main\.py with --eval_retrieval True"
    ):
        recall.recall_matrix(run)


def test_runs_of_other_images_are_not_compared(tmp_path: Path) -> None:
    runs = [
        write_output(tmp_path / arm, active=arm == "active", retrieval=[query(image, "none", "", 0)])
        for image, arm in enumerate(("passive", "active"))
    ]
    with pytest.raises(ValueError, match="passive and active have no copies in common"):
        recall.recall_table(runs)


def test_only_attacks_of_three_strengths_are_swept_in_numeric_order(tmp_path: Path) -> None:
    rows = [query(0, "rotation", angle, None) for angle in ("10.0", "-90.0", "9.0")]
    rows += [query(0, "blur", kernel, 0) for kernel in ("3.0", "5.0")]
    table = recall.strength_table([write_output(tmp_path / "a", active=True, retrieval=rows, grid=True)])
    assert table["attack"].tolist() == ["rotation"] * 3
    assert table["strength"].tolist() == [-90, 9, 10]


def test_labels_drop_the_needless_zero() -> None:
    attacks = [("jpeg", "50.0"), ("contrast", "2.0"), ("hue", "0.2"), ("meme_format", "")]
    assert [recall.label(attack) for attack in attacks] == [
        "jpeg 50",
        "contrast 2.0",
        "hue 0.2",
        "meme format",
    ]


def test_an_active_run_alone_is_compared_with_its_images_as_they_were(tmp_path: Path) -> None:
    """Two images of three are found first after activation, one before."""
    run = write_output(
        tmp_path / "active",
        active=True,
        retrieval=[query(n, "blur", "1.0", [0, 0, None][n]) for n in range(3)],
    )
    assert with_baseline([run]) == [run]
    before = [retrieval_row(0, query(n, "blur", "1.0", [0, 1, None][n])) for n in range(3)]
    write_csv(run.folder / "retr_passive_df.csv", RETRIEVAL_COLUMNS, before)
    content = run.content | {"passive_retrieval": [{"attack": "blur"}]}
    (run.folder / "run.json").write_text(json.dumps(content))
    (run,) = open_runs([run.folder])
    table = recall.recall_table(with_baseline([run]))
    assert table.columns.tolist() == ["n", "passive", "active", "difference", "low", "high"]
    assert table.loc[[("blur", "1.0")], ["passive", "active", "difference"]].to_numpy().tolist() == [
        [pytest.approx(1 / 3), pytest.approx(2 / 3), pytest.approx(1 / 3)]
    ]
    other = write_output(tmp_path / "own", active=False, retrieval=[query(0, "blur", "1.0", 0)])
    assert with_baseline([other, run]) == [other, run], "a passive run of its own is preferred"
