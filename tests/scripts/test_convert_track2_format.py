from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from active_indexing.extraction.named_descriptors import NamedDescriptors, write_hdf5
from scripts import convert_track2_format


def a_set(path: Path, names: list[str], dim: int = 4, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(len(names), dim)).astype(np.float32)
    write_hdf5(path, NamedDescriptors(tuple(names), vectors))
    return vectors


def command(tmp_path: Path) -> list[str]:
    files = ["--query_descs", str(tmp_path / "q.hdf5"), "--db_descs", str(tmp_path / "r.hdf5")]
    return [*files, "--o", str(tmp_path / "sub.hdf5")]


def test_a_submission_has_both_sides_sorted_by_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = a_set(tmp_path / "q.hdf5", ["a/Q00002.jpg", "Q00001.png"])
    references = a_set(tmp_path / "r.hdf5", ["R000003", "R000001", "R000002"], seed=1)
    assert convert_track2_format.main(command(tmp_path)) == 0
    with h5py.File(tmp_path / "sub.hdf5") as file:
        assert set(file) == {"query", "reference", "query_ids", "reference_ids"}
        assert file["query_ids"][()].tolist() == [b"Q00001", b"Q00002"]
        assert file["reference_ids"][()].tolist() == [b"R000001", b"R000002", b"R000003"]
        assert file["query"].dtype == file["reference"].dtype == np.float32
        np.testing.assert_array_equal(file["query"][()], queries[[1, 0]])
        np.testing.assert_array_equal(file["reference"][()], references[[1, 2, 0]])
    captured = capsys.readouterr()
    assert captured.out.endswith("sub.hdf5: 2 queries and 3 references of 4 dimensions\n")
    assert not captured.err


def test_more_dimensions_than_the_challenge_took_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_set(tmp_path / "q.hdf5", ["Q1"], 257)
    a_set(tmp_path / "r.hdf5", ["R1"], 257)
    assert convert_track2_format.main(command(tmp_path)) == 0
    assert capsys.readouterr().err == "note: the challenge accepted at most 256 dimensions\n"


@pytest.mark.parametrize(
    ("names", "dim", "message"),
    [
        (["b/Q1.jpg", "a/Q1.jpg"], 4, "b/Q1.jpg and a/Q1.jpg would both be called Q1 in an HDF5 file"),
        (["Q1"], 5, "queries have descriptors of 5 dimensions, references of 4; extract both"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], dim: int, message: str
) -> None:
    a_set(tmp_path / "q.hdf5", names, dim)
    a_set(tmp_path / "r.hdf5", ["R1"])
    assert convert_track2_format.main(command(tmp_path)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "sub.hdf5").exists()


def test_images_are_not_descriptors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_set(tmp_path / "r.hdf5", ["R1"])
    arguments = command(tmp_path)
    arguments[1] = str(tmp_path)
    assert convert_track2_format.main(arguments) == 2
    assert "is no file of descriptors (.hdf5, .h5, .npy, .pth or .pt); make one" in capsys.readouterr().err
