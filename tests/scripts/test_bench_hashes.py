from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import bench_hashes


def rows(*first_bytes: int) -> np.ndarray:
    database = np.zeros((len(first_bytes), 32), dtype=np.uint8)
    database[:, 0] = first_bytes
    return database


def test_the_original_must_be_strictly_nearest() -> None:
    query = rows(0b0000)[0]
    assert bench_hashes.found_first(query, 1, rows(0b0011, 0b0001))
    assert not bench_hashes.found_first(query, 0, rows(0b0011, 0b0001))
    assert not bench_hashes.found_first(query, 0, rows(0b0001, 0b0010)), "a tie counts against us"


def test_a_table_of_made_up_photos_has_every_attack(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder, count in (("photos", 2), ("references", 3)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
            coarse.resize((96, 96)).save(tmp_path / folder / f"{i}.png")

    def mean_bits(image: Image.Image) -> np.ndarray:
        grey = np.asarray(image.convert("L").resize((16, 16)))
        return np.packbits((grey > grey.mean()).ravel())

    table = bench_hashes.measure(tmp_path / "photos", tmp_path / "references", {"mean": mean_bits})
    assert len(table) == 15
    assert table.loc[("none", ""), "mean"] == 1.0
    assert table["n"].max() == 2


def test_a_missing_package_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pdqhash", None)
    arguments = ["--data_dir", str(tmp_path), "--reference_dir", str(tmp_path)]
    assert bench_hashes.main(arguments) == 2
    assert "pip install pdqhash ImageHash" in capsys.readouterr().err
