from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from scripts import bench_index
from tests.conftest import Toy
from tests.runs import take_images


def flags(toy: Toy, tmp_path: Path, *more: str) -> list[str]:
    settings = {
        "data_dir": take_images(toy, tmp_path / "photos", 3),
        "output_dir": tmp_path / "bench",
        "fts_training_path": toy.training,
        "fts_reference_path": toy.references,
        "model_name": "torchscript",
        "model_path": toy.model,
        "resize_size": toy.size,
        "workers": 0,
    }
    listed = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return [*listed, *more]


def test_every_index_has_a_row_per_arm_entries_and_nprobe_below_the_exact_search(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--indexes", "IVF4,PQ4x4", "OPQ4,IVF4,PQ8x4", "--entries", "1", "2", "--nprobe", "1", "4"]
    assert bench_index.main(flags(toy, tmp_path, *more)) == 0
    with open(tmp_path / "bench" / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 + 2 * 2 * 2 * 2
    assert [(row["arm"], row["index"], row["scanned"]) for row in rows[:2]] == [
        ("passive", "exact search, float32", "1.0000"),
        ("active", "exact search, float32", "1.0000"),
    ]
    size = {(row["index"], row["entries"]): row["bytes"] for row in rows[2:]}
    assert size == {  # 4 and 8 codes of 4 bits, once and twice
        ("IVF4,PQ4x4", "1"): "2",
        ("IVF4,PQ4x4", "2"): "4",
        ("OPQ4,IVF4,PQ8x4", "1"): "4",
        ("OPQ4,IVF4,PQ8x4", "2"): "8",
    }
    for row in rows[2:]:
        scanned = float(row["scanned"])
        assert scanned == 1 if row["nprobe"] == "4" else 0 < scanned < 1  # four cells are all there are
        assert 0 <= float(row["low"]) <= float(row["recall"]) <= float(row["high"]) <= 1
    with Image.open(tmp_path / "bench" / "index.png") as picture:
        assert picture.width > picture.height > 200
    assert "R@1 against bytes per image" in capsys.readouterr().out


def test_an_index_without_cells_is_refused(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_index.main(flags(toy, tmp_path, "--indexes", "PQ4x4")) == 2
    assert "PQ4x4 has no cells; expected IVF indexes, e.g. IVF1024,PQ8x8np." in capsys.readouterr().err


def test_wrong_numbers_are_told(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench_index.main(flags(toy, tmp_path, "--entries", "0"))
    assert "expected --entries from 1 to 16, got [0]." in capsys.readouterr().err
