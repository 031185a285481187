from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from active_indexing.artefacts import csv_tables
from active_indexing.evaluation import tables
from active_indexing.index.files import EMBEDDED_DIR
from active_indexing.metrics.thresholds import QueryScores, threshold
from active_indexing.query import calibration
from active_indexing.records import NO_MATCH, PROTECTED_BASE, QueryRow

INF = float("inf")


def scores(non_matching: list[float], right: list[float] | None = None) -> QueryScores:
    return QueryScores(np.array(non_matching, dtype=float), np.array(right or [], dtype=float))


def row(image_index: int, distances: list[float], ids: list[int] | None = None) -> QueryRow:
    ids = list(range(PROTECTED_BASE, PROTECTED_BASE + len(distances))) if ids is None else ids
    return QueryRow(
        image_index, "crop+blur", "{}", np.array(ids, dtype=np.int64), np.array(distances, dtype=np.float32)
    )


def a_run(
    folder: Path,
    rows: list[QueryRow],
    quant: str = "L2",
    index: Path | None = None,
    idx_dir: str | None = None,
) -> Path:
    made_from = {"factory": "IVF8,PQ4x4", "quant": quant, "dim": 64, "descriptor": "abc"}
    content = {
        "config": {"index": {"nprobe": 2, "idx_dir": idx_dir or str((index or folder).parent)}},
        "index": {**made_from, "path": None if index is None else str(index), "entries": 500},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(content))
    cells = (tables.copy_detection_row(0, each) for each in rows)
    csv_tables.write_csv(folder / "icd_df.csv", tables.COPY_DETECTION_COLUMNS, cells)
    return folder


def twenty_queries() -> list[QueryRow]:
    """Queries without a match whose nearest answer is at 0.1, 0.2 ... and whose next is 1, 2 ... further.

    Two queries have a match: at 0.05 with the next one far, and behind a wrong answer.
    """
    others = [row(NO_MATCH, [0.1 * n, 0.1 * n + n]) for n in range(1, 21)]
    return [
        *others,
        row(2**62 + 1, [0.05, 99.0], [2**62 + 1, 3]),
        row(2**62 + 7, [0.1, 0.6, 0.7], [2**62 + 3, 2**62 + 7, 4]),
    ]


# The threshold


def test_at_most_the_chosen_share_of_queries_exceeds_the_threshold() -> None:
    non_matching = np.random.default_rng(0).permutation(np.arange(1.0, 101.0)).tolist()
    found = threshold(scores(non_matching, [94.0, 95.0, 96.0, 97.0]), 0.05)
    assert found.value == 95  # 96 ... 100 are five queries
    # Binomial(100, 0.05) lies in 1 ... 10 with 95 %: the largest and the 11th largest score
    assert (found.low, found.high) == (90, 100)
    assert found.recall == 0.5
    assert stats.beta.cdf([found.rate_low, found.rate_high], 6, 95) == pytest.approx([0.025, 0.975])


def test_the_interval_of_the_recall_is_that_of_clopper_and_pearson() -> None:
    found = threshold(scores([0.0], [1.0] * 10), 0.5)
    assert found.recall == 1
    assert (found.recall_low, found.recall_high) == pytest.approx((0.025**0.1, 1.0))
    assert threshold(scores([0.0]), 0.5).recall is None


def test_few_queries_leave_the_upper_end_open_and_the_rate_wide() -> None:
    found = threshold(scores([3.0, 2.0, 1.0]), 0.01)
    assert found.value == 3
    assert found.high is None
    assert found.rate_high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_queries_without_answers_need_no_threshold() -> None:
    found = threshold(scores([-INF] * 9 + [5.0], [0.0, -INF]), 0.1)
    assert found.value is None
    assert found.recall == 0.5  # every answer is accepted, but one query has none


@settings(derandomize=True, deadline=None, max_examples=50, database=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), st.integers(1, 99))
def test_it_is_the_lowest_score_that_keeps_the_rate(best: list[int], per_cent: int) -> None:
    found = threshold(scores(best), per_cent / 100).value
    allowed = per_cent * len(best) // 100
    assert sum(score > found for score in best) <= allowed
    assert all(sum(score > lower for score in best) > allowed for lower in best if lower < found)


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = rates = 0
    for _ in range(400):
        found = threshold(scores(rng.random(200).tolist()), 0.05)  # the true threshold is 0.95
        inside += found.low < 0.95 < found.high
        rates += found.rate_low < 1 - found.value < found.rate_high
    assert 0.93 <= inside / 400 <= 0.99
    assert 0.93 <= rates / 400 <= 0.97


# From a run


def test_a_run_gives_both_thresholds(tmp_path: Path) -> None:
    found = calibration.calibrate(a_run(tmp_path, twenty_queries()), 0.1)
    # Two of 20 may pass: those nearer than the third, 0.3; and those with gaps of 19 and 20.
    assert found.distance.value == pytest.approx(0.3)
    assert found.normalized.value == pytest.approx(18)
    assert found.distance.low == pytest.approx(0.1, abs=1e-6) or found.distance.low is None
    assert found.distance.high > found.distance.value
    # 0.05 is near enough, 0.6 is not; 99 is apart from the next one, 0.1 is not.
    assert (found.distance.recall, found.normalized.recall) == (0.5, 0.5)
    assert (found.queries, found.matching, found.answers, found.nprobe) == (20, 2, 3, 2)


def test_ids_may_have_the_name_of_the_published_program(tmp_path: Path) -> None:
    ours = calibration.calibrate(a_run(tmp_path / "ours", twenty_queries()), 0.1)
    run = a_run(tmp_path / "renamed", twenty_queries())
    text = (run / "icd_df.csv").read_text()
    (run / "icd_df.csv").write_text(text.replace("retrieved_indices", "retrieved_ids", 1))
    renamed = calibration.calibrate(run, 0.1)
    assert (renamed.distance, renamed.normalized) == (ours.distance, ours.normalized)


@pytest.mark.parametrize("quant", ["L2", "IP"])
def test_the_queries_that_pass_are_no_more_than_allowed(tmp_path: Path, quant: str) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for count in rng.integers(0, 6, 60):
        values = np.sort(rng.random(count))
        rows.append(row(NO_MATCH, (values[::-1] if quant == "IP" else values).tolist()))
    found = calibration.calibrate(a_run(tmp_path, rows, quant), 0.2)
    for accepts in (found.accepts_distance, found.accepts_normalized):
        passing = [accepts(each.distances, each.ids) for each in rows]
        assert [len(answers) for answers in passing] == [len(each.distances) for each in rows]
        assert sum(answers.any() for answers in passing) == 0.2 * 60


def test_inner_products_are_accepted_above_the_threshold(tmp_path: Path) -> None:
    rows = [row(NO_MATCH, [0.1 * n, 0.0]) for n in range(1, 6)]
    found = calibration.calibrate(a_run(tmp_path, rows, "IP"), 0.2)
    assert found.distance.value == pytest.approx(0.4)
    ids = PROTECTED_BASE + np.arange(3)
    assert found.accepts_distance(np.array([0.45, 0.35]), ids[:2]).tolist() == [True, False]
    assert found.accepts_normalized(np.array([0.45, 0.0, -9.0]), ids).tolist() == [True, True, False]


def test_everything_is_accepted_when_nothing_needs_to_be_refused(tmp_path: Path) -> None:
    found = calibration.calibrate(a_run(tmp_path, [row(NO_MATCH, [])] * 3), 0.5)
    assert found.distance.value is None
    ids = PROTECTED_BASE + np.arange(2)
    assert found.accepts_distance(np.array([0.1, 9.0]), ids).tolist() == [True, True]
    assert found.accepts_normalized(np.array([0.1, 9.0]), ids).tolist() == [True, False]


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    found = calibration.calibrate(a_run(tmp_path, twenty_queries()), 0.1)
    calibration.save_calibration(found, tmp_path / "t.json")
    assert calibration.load_calibration(tmp_path / "t.json") == found


def test_another_index_is_refused(tmp_path: Path) -> None:
    found = calibration.calibrate(a_run(tmp_path, twenty_queries()), 0.1)
    found.check(dict(found.index), 2)
    with pytest.raises(ValueError, match="the thresholds are for another descriptor and nprobe than this in"):
        found.check({**found.index, "descriptor": "other"}, 1)
    with pytest.raises(ValueError, match="the thresholds are for another references than this index"):
        found.check({**found.index, "references": {}}, 2)


def test_references_are_never_answers_but_may_be_the_next_neighbour(tmp_path: Path) -> None:
    ours = PROTECTED_BASE
    # A reference is nearer than every protected image; without the references 0.9 is the nearest answer.
    others = [row(NO_MATCH, [0.1, 0.9 + n, 1.0 + 3 * n], [5, ours, 6]) for n in range(4)]
    rows = [*others, row(NO_MATCH, [0.1], [5]), row(ours, [0.5, 0.8, 0.85], [5, ours, 6])]
    found = calibration.calibrate(a_run(tmp_path, rows), 0.2)
    assert (found.queries, found.answered) == (5, 4)
    assert found.distance.value == pytest.approx(1.9)  # one of five may pass: the one at 0.9
    assert found.normalized.value == pytest.approx(4.1)  # gaps to the reference behind: 0.1, 2.1, 4.1, 6.1
    assert (found.distance.recall, found.normalized.recall) == (1.0, 0.0)
    answers = np.array([0.1, 0.8]), np.array([5, ours])
    assert found.accepts_distance(*answers).tolist() == [False, True]
    assert found.accepts_normalized(np.array([0.1, 9.0, 99.0]), np.array([5, ours, 6])).tolist() == [
        False, True, False,
    ]  # fmt: skip


def test_thresholds_lie_beside_the_index_in_the_run_s_own_folder_of_indexes(tmp_path: Path) -> None:
    index = tmp_path / "indexes" / "idx=IVF8,PQ4x4_quant=L2.index"
    index.parent.mkdir()
    index.write_bytes(b"index")
    run = a_run(tmp_path / "run", twenty_queries(), index=index)
    assert calibration.calibration_path(run) == index.parent / "idx=IVF8,PQ4x4_quant=L2.calibration.json"


@pytest.mark.parametrize("where", ["none", "ours", "another installation", "gone", "elsewhere"])
def test_otherwise_they_lie_in_the_run(tmp_path: Path, where: str) -> None:
    name = "idx=IVF8,PQ4x4_quant=L2.index"
    package = tmp_path / "other" / "active_indexing" / "assets"
    package.mkdir(parents=True)
    (package / name).write_bytes(b"index")
    index, idx_dir = {
        "none": (None, "indexes"),
        "ours": (EMBEDDED_DIR / name, str(EMBEDDED_DIR)),
        "another installation": (package / name, str(package)),
        "gone": (tmp_path / "indexes" / name, str(tmp_path / "indexes")),
        "elsewhere": (package / name, "indexes"),
    }[where]
    run = a_run(tmp_path / "run", twenty_queries(), index=index, idx_dir=idx_dir)
    assert calibration.calibration_path(run) == run / "calibration.json"


def test_thresholds_that_counted_references_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"format": "active_indexing.calibration/1"}')
    with pytest.raises(ValueError, match=r"references counted as answers\); run scripts/calibrate.py"):
        calibration.load_calibration(path)


def test_what_can_not_be_calibrated_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no run.json; give the output folder of a finished run"):
        calibration.calibrate(tmp_path, 0.1)
    run = a_run(tmp_path, twenty_queries()[-2:])
    with pytest.raises(
        ValueError, match=r"has no queries without a match; run main.py again with --query_no"
    ):
        calibration.calibrate(run, 0.1)
    with pytest.raises(ValueError, match="the false-positive rate and the level lie between 0 and 1, got 1"):
        calibration.calibrate(run, 1.0)
    (run / "icd_df.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no icd_df.csv"):
        calibration.calibrate(run, 0.1)


def test_files_that_hold_no_thresholds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    with pytest.raises(FileNotFoundError, match=r"no thresholds .*t.json; make them with scripts/calibrate"):
        calibration.load_calibration(path)
    for text in ("{", "[]", "{}", '{"format": "another"}', '{"format": "active_indexing.calibration/1"}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not a file of thresholds"):
            calibration.load_calibration(path)


def test_nothing_in_the_file_is_outside_of_json(tmp_path: Path) -> None:
    found = calibration.calibrate(a_run(tmp_path, [row(NO_MATCH, [])] * 3), 0.5)
    calibration.save_calibration(found, tmp_path / "t.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((tmp_path / "t.json").read_text(), parse_constant=refuse)
    assert set(content) == {field.name for field in dataclasses.fields(found)} | {"format"}
