from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from active_indexing.evaluation.protocols import predictions
from active_indexing.evaluation.protocols.predictions import GroundTruth, Predictions
from active_indexing.extraction.named_descriptors import NamedDescriptors, open_set, read_hdf5, write_hdf5
from active_indexing.metrics import ranking

THREE = Predictions(("Q1", "Q1", "Q2"), ("R1", "R2", "R1"), np.array([0.1 + 0.2, -1e-9, 2.0]))


def no_images(path: Path) -> Path:
    raise AssertionError(f"nothing to extract, got {path}")


def a_set(names: list[str], dim: int = 3, seed: int = 0) -> NamedDescriptors:
    vectors = np.random.default_rng(seed).normal(size=(len(names), dim)).astype(np.float32)
    return NamedDescriptors(tuple(names), vectors)


# Predictions


@pytest.mark.parametrize("column", ["reference_id", "ref_id"])
def test_predictions_come_back_as_they_were_written(tmp_path: Path, column: str) -> None:
    path = tmp_path / "predictions.csv"
    predictions.write_predictions(path, THREE, column)
    assert path.read_text().splitlines()[:2] == [f"query_id,{column},score", "Q1,R1,0.30000000000000004"]
    read = predictions.read_predictions(path)
    assert (read.queries, read.references) == (THREE.queries, THREE.references)
    assert read.scores.tolist() == THREE.scores.tolist()
    assert len(read) == 3


def test_predictions_without_a_header_are_read_from_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("\ufeffQ1, R1 ,-0.5\r\n\r\nQ2,R2,1e3\r\n")
    read = predictions.read_predictions(path)
    assert read.queries == ("Q1", "Q2")
    assert read.references == ("R1", "R2")
    assert read.scores.tolist() == [-0.5, 1000.0]


@pytest.mark.parametrize("row", ["Q1,R1", "Q1,R1,high", "Q1,R1,0.5,1", "Q1,,0.5", "Q1,R1,nan"])
def test_a_row_that_is_no_prediction_is_refused_with_its_line(tmp_path: Path, row: str) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(f"query_id,ref_id,score\nQ0,R0,1\n{row}\n")
    with pytest.raises(ValueError, match=r"line 3: expected a query, a reference and a score, got"):
        predictions.read_predictions(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no file .*none.csv; expected a CSV of queries and references"
    ):
        predictions.read_predictions(tmp_path / "none.csv")


# Ground truth


@pytest.mark.parametrize(
    "text",
    [
        "Q1,R1\nQ2,\nQ3,R1\n",
        "query_id,reference_id\nQ1,R1\nQ2,\nQ3,R1\n",
        "query_id,ref_id\r\nQ1,R1\r\nQ2\r\nQ3,R1\r\nQ1,R1\r\n",
    ],
    ids=["no header", "challenge", "ViT4ICD, a query alone, a row twice"],
)
def test_every_dialect_of_the_ground_truth_says_the_same(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(text, newline="")
    expected = GroundTruth(frozenset({("Q1", "R1"), ("Q3", "R1")}), frozenset({"Q1", "Q2", "Q3"}))
    assert predictions.read_ground_truth(path) == expected


@pytest.mark.parametrize("row", ["Q1,R1,0.5", ",R1"])
def test_a_row_that_is_no_match_is_refused_with_its_line(tmp_path: Path, row: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(f"Q0,R0\n{row}\n")
    with pytest.raises(ValueError, match="line 2: expected a query and its reference, got"):
        predictions.read_ground_truth(path)


def test_a_ground_truth_without_a_match_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("query_id,reference_id\nQ1,\n")
    with pytest.raises(ValueError, match="holds no match; is it the ground truth"):
        predictions.read_ground_truth(path)


# Ranking


def test_missed_pairs_and_queries_without_a_match_count() -> None:
    truth = GroundTruth(frozenset({("Q1", "R1"), ("Q9", "R1")}), frozenset({"Q1", "Q9"}))
    pairs = predictions.rank_predictions(THREE, truth, queries=["Q7"])
    assert len(pairs.positives) == 4  # Q1, Q2, Q7, Q9
    assert pairs.correct.tolist() == [False, True, False]
    assert ranking.average_precision(pairs) == (1 / 2) / 2
    assert ranking.accuracy_at_1(pairs) == 1 / 2


def test_every_right_answer_of_a_query_is_to_be_found() -> None:
    truth = GroundTruth(frozenset({("Q1", "R1"), ("Q1", "R3")}), frozenset({"Q1"}))
    pairs = predictions.rank_predictions(THREE, truth)
    assert pairs.positives.tolist() == [2, 0]
    assert ranking.recall_at_rank(pairs, 10) == 1 / 2


def test_a_pair_that_is_predicted_twice_is_refused() -> None:
    twice = Predictions(("Q1", "Q2", "Q1"), ("R1", "R1", "R1"), np.zeros(3))
    with pytest.raises(ValueError, match="the pair Q1, R1 is predicted twice"):
        predictions.rank_predictions(twice, GroundTruth(frozenset({("Q1", "R1")}), frozenset({"Q1"})))


# Descriptor files


def test_an_hdf5_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = a_set(["Q00001.jpg", "caf\u00e9/Q00002.png"])
    write_hdf5(tmp_path / "query_v1.hdf5", written)
    read = open_set([tmp_path / "query_v1.hdf5"], no_images)
    assert read.names == written.names
    assert read.ids == ("Q00001", "Q00002")
    assert np.array_equal(read.vectors, written.vectors)


def test_parts_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for part in range(11):
        write_hdf5(tmp_path / f"reference_{part}_v1.hdf5", a_set([f"R{part}a", f"R{part}b"], seed=part))
        write_hdf5(tmp_path / f"reference_{part}_v2.hdf5", a_set([f"other{part}"]))
    read = read_hdf5(tmp_path / "reference_v1.hdf5")
    assert read.names == tuple(f"R{part}{letter}" for part in range(11) for letter in "ab")
    assert np.array_equal(read.vectors[20:], a_set(["", ""], seed=10).vectors)


def test_several_files_are_read_one_after_another(tmp_path: Path) -> None:
    for number in (0, 1):
        write_hdf5(tmp_path / f"{number}.h5", a_set([f"R{number}"], seed=number))
    assert open_set([tmp_path / "1.h5", tmp_path / "0.h5"], no_images).names == ("R1", "R0")


def test_a_missing_part_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*reference_v1.hdf5, and no parts of it"):
        read_hdf5(tmp_path / "reference_v1.hdf5")
    for part in (0, 2):
        write_hdf5(tmp_path / f"reference_{part}_v1.hdf5", a_set(["R"]))
    with pytest.raises(
        ValueError, match=r"part 1 of .*reference_v1.hdf5 is missing; parts up to 2 are there"
    ):
        read_hdf5(tmp_path / "reference_v1.hdf5")


def test_damaged_and_foreign_hdf5_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.hdf5").write_text("no HDF5")
    with pytest.raises(
        ValueError, match="is not a whole HDF5 file with the datasets vectors and image_names"
    ):
        read_hdf5(tmp_path / "text.hdf5")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["vectors"] = np.zeros((2, 3))
    with pytest.raises(
        ValueError, match="is not a whole HDF5 file with the datasets vectors and image_names"
    ):
        read_hdf5(tmp_path / "other.hdf5")
    with h5py.File(tmp_path / "short.hdf5", "w") as file:
        file["vectors"] = np.zeros((2, 3))
        file["image_names"] = np.array([b"a"])
    with pytest.raises(ValueError, match=r"has vectors of shape \(2, 3\) and 1 names"):
        read_hdf5(tmp_path / "short.hdf5")


def test_descriptors_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    bad = a_set(["R1", "R2"])
    bad.vectors[1, 0] = np.inf
    write_hdf5(tmp_path / "bad.hdf5", bad)
    with pytest.raises(ValueError, match="the descriptor of R2 is not finite"):
        read_hdf5(tmp_path / "bad.hdf5")


def test_files_of_two_descriptors_are_not_mixed(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "a.h5", a_set(["R1"], dim=3))
    write_hdf5(tmp_path / "b.h5", a_set(["R2"], dim=4))
    with pytest.raises(ValueError, match=r"have descriptors of lengths \[3, 4\]; extract all with one descr"):
        open_set([tmp_path / "a.h5", tmp_path / "b.h5"], no_images)


def test_a_matrix_needs_its_list_of_names(tmp_path: Path) -> None:
    np.save(tmp_path / "fts.npy", np.eye(2, dtype=np.float32))
    with pytest.raises(
        FileNotFoundError, match=r"no filenames.txt beside .*fts.npy, so its rows have no names"
    ):
        open_set([tmp_path / "fts.npy"], no_images)
    (tmp_path / "filenames.txt").write_text("images/R000001.jpg\nimages/R000002.jpg\n")
    read = open_set([tmp_path / "fts.npy"], no_images)
    assert read.ids == ("R000001", "R000002")
    assert np.array_equal(read.vectors, np.eye(2))


def test_only_endings_of_images_are_cut_off() -> None:
    names = a_set(["a/b.JPG", "b.v2", "b.v2.png", "b"])
    assert names.ids == ("b", "b.v2", "b.v2", "b")
