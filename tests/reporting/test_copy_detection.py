from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from active_indexing.metrics.bootstrap import Interval, draws
from active_indexing.metrics.retrieval import micro_average_precision
from active_indexing.reporting import copy_detection
from tests.reporting.outputs import answer, write_output

# Scores of the pairs, raw: query 0: -1 wrong, -2 right, -4 wrong; query 1: -3 right; query 2: -8, -8.5 wrong
#               normalised: query 0:  1 wrong,  2 right;           query 1: none;     query 2: 0.5 wrong
ANSWERS = (
    answer(7, [5, 7, 6], [1, 2, 4]),
    answer(8, [8], [3]),
    answer(-1, [5, 6], [8, 8.5]),
)


def test_normalised_scores_are_the_distance_to_the_next_answer_and_the_last_answer_is_dropped(
    tmp_path: Path,
) -> None:
    found = copy_detection.pairs(write_output(tmp_path, active=True, copies=ANSWERS), normalised=True)
    assert found.scores.tolist() == [2, 1, 0.5]
    assert found.correct.tolist() == [True, False, False]
    assert found.queries.tolist() == [0, 0, 2]
    assert found.positives.tolist() == [1, 1, 0]


def test_raw_scores_are_minus_the_distances(tmp_path: Path) -> None:
    found = copy_detection.pairs(write_output(tmp_path, active=True, copies=ANSWERS))
    assert found.scores.tolist() == [-1, -2, -3, -4, -8, -8.5]
    assert found.correct.tolist() == [False, True, True, False, False, False]


def test_inner_products_are_scores_already(tmp_path: Path) -> None:
    rows = (answer(7, [7, 5], [0.75, 0.5]),)
    run = write_output(tmp_path, active=True, copies=rows, quant="IP")
    assert copy_detection.pairs(run).scores.tolist() == [0.75, 0.5]
    assert copy_detection.pairs(run, normalised=True).scores.tolist() == [0.25]


def test_average_precision_of_both_scores_by_hand(tmp_path: Path) -> None:
    run = write_output(tmp_path, active=True, copies=ANSWERS)
    # raw ranking: wrong, right (1/2), right (2/3); normalised: right (1/1), the match of query 1 is missed
    assert copy_detection.average_precision(copy_detection.pairs(run)) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert copy_detection.average_precision(copy_detection.pairs(run, normalised=True)) == pytest.approx(
        1 / 2
    )
    # the notebook adds the missed match at score -1, behind all three pairs: precision 2/4 there
    assert copy_detection.published_average_precision(run) == pytest.approx((1 + 2 / 4) / 2)


def test_the_curve_has_one_point_per_match_found(tmp_path: Path) -> None:
    recall, precision = copy_detection.precision_recall(
        copy_detection.pairs(write_output(tmp_path, active=True, copies=ANSWERS))
    )
    assert recall.tolist() == [0.5, 1.0]
    assert precision.tolist() == pytest.approx([1 / 2, 2 / 3])


def test_equal_scores_count_against_us(tmp_path: Path) -> None:
    rows = (answer(7, [7, 5], [1, 1]),)
    run = write_output(tmp_path, active=True, copies=rows)
    assert copy_detection.average_precision(copy_detection.pairs(run)) == 0.5
    assert copy_detection.precision_recall(copy_detection.pairs(run))[1].tolist() == [0.5]


def test_the_interval_is_that_of_the_queries_drawn(tmp_path: Path) -> None:
    # Each query is found first or never, so the uAP of a draw is the share found, X/4 with X ~ B(4, 3/4).
    rows = [answer(i, [i], [1 + i]) for i in range(3)] + [answer(3, [], [])]
    found = copy_detection.pairs(write_output(tmp_path, active=True, copies=rows))
    assert copy_detection.average_precision(found) == 0.75
    assert copy_detection.average_precision_interval(found) == Interval(0.25, 1.0)


def test_an_interval_agrees_with_counting_every_draw(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [answer(i, rng.permutation(6).tolist(), np.sort(rng.random(6)).tolist()) for i in range(6)]
    found = copy_detection.pairs(write_output(tmp_path, active=True, copies=rows))
    figures = []
    for counts in draws(6, 50):
        times = counts[found.queries]
        scores, correct = np.repeat(found.scores, times), np.repeat(found.correct, times)
        figures.append(micro_average_precision(scores, correct, 6))
    figures.sort()
    ends = copy_detection.average_precision_interval(found, 50)  # 1 of 50 values on either side is 2.5 %
    assert (ends.low, ends.high) == pytest.approx((figures[1], figures[-2]))


def test_a_run_without_copy_detection_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no copy detection results: run main\.py with --eval_icd True"):
        copy_detection.pairs(write_output(tmp_path, active=True))
    assert copy_detection.average_precision_table([write_output(tmp_path, active=True)]).empty


def cell_7(path: Path) -> float:
    """What cell 7 of the published notebook computes, from its column ``retrieved_ids``."""
    scores: list[float] = []
    labels: list[bool] = []
    for _, row in pd.read_csv(path).iterrows():
        ids = [int(text) for text in row["retrieved_ids"][1:-1].split()]
        distances = [float(text) for text in row["retrieved_distances"][1:-1].split()]
        cut = ids.index(-1) if -1 in ids else len(ids)
        hits = [ids[place] == row["image_index"] for place in range(max(cut - 1, 0))]
        scores += [distances[place + 1] - distances[place] for place in range(len(hits))]
        labels += hits
        if row["image_index"] != -1 and not any(hits):
            scores.append(-1.0)
            labels.append(True)
    return float(average_precision_score(labels, scores))


def test_the_line_of_the_documentation_makes_the_published_notebook_read_our_file(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "flags.md").read_text()
    [line] = re.findall(r"^    (sed .*icd_df\.csv)$", text, re.MULTILINE)
    run = write_output(tmp_path / "output" / "active", active=True, copies=ANSWERS)
    with pytest.raises(KeyError, match="retrieved_ids"):
        cell_7(run.folder / "icd_df.csv")
    subprocess.run(line, shell=True, cwd=tmp_path, check=True)
    header, *_ = (run.folder / "icd_df.csv").read_text().splitlines()
    assert header == "batch,image_index,attack,attack_param,retrieved_distances,retrieved_ids"
    assert cell_7(run.folder / "icd_df.csv") == pytest.approx(copy_detection.published_average_precision(run))
    assert copy_detection.pairs(run).scores.tolist() == [-1, -2, -3, -4, -8, -8.5]  # ours still reads it


def test_a_file_of_the_published_program_is_read(tmp_path: Path) -> None:
    # Lists are wrapped; a row with a missing answer (id -1, the largest float32) is in scientific notation.
    run = write_output(tmp_path, active=True, copies=ANSWERS)
    lists = [
        (7, "[1. 2. 4.]", "[ 5  7\n  6]"),
        (8, "[3.0000000e+00 3.4028235e+38]", "[ 8 -1]"),
        (-1, "[8.0000000e+00 8.5000000e+00 3.4028235e+38]", "[ 5  6 -1]"),
    ]
    header = "batch,image_index,attack,retrieved_distances,retrieved_ids\n"
    rows = [f'0,{image},"[none","{distances}","{ids}"\n' for image, distances, ids in lists]
    (tmp_path / "icd_df.csv").write_text(header + "".join(rows))
    assert copy_detection.pairs(run).scores.tolist() == [-1, -2, -3, -4, -8, -8.5]
    assert copy_detection.pairs(run).correct.tolist() == [False, True, True, False, False, False]
    assert copy_detection.published_average_precision(run) == pytest.approx(cell_7(tmp_path / "icd_df.csv"))


def test_a_table_without_ids_is_named(tmp_path: Path) -> None:
    run = write_output(tmp_path, active=True, copies=ANSWERS)
    (tmp_path / "icd_df.csv").write_text("image_index,retrieved_distances\n7,[1.0]\n")
    with pytest.raises(
        ValueError, match=r"icd_df.csv has neither a column retrieved_indices nor retrieved_ids"
    ):
        copy_detection.pairs(run)
