from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from active_indexing.index.vector_index import VectorIndex, new_index
from scripts import bench_entries, select_entries
from scripts.benches.outcomes import hits_of
from scripts.benches.released import Arm
from scripts.select_entries import CANDIDATES, Candidates
from tests.conftest import Toy
from tests.runs import take_images


def flags(toy: Toy, tmp_path: Path, **more: Any) -> list[str]:
    settings: dict[str, Any] = {
        "data_dir": take_images(toy, tmp_path / "photos", 3),
        "output_dir": tmp_path / "bench",
        "fts_training_path": toy.training,
        "fts_reference_path": toy.references,
        "model_name": "torchscript",
        "model_path": toy.model,
        "resize_size": toy.size,
        "idx_factory": "IVF4,PQ4x4",
        "bigger": "IVF4,PQ8x4",
        "workers": 0,
        "queries": 5,
    }
    listed = [text for name, value in (settings | more).items() for text in (f"--{name}", str(value))]
    return [*listed, "--entries", "1", "4", "--nprobes", "1", "2", "--more_probes", "4"]


def test_a_small_bench_has_a_row_for_every_combination(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_entries.main(flags(toy, tmp_path)) == 0
    with open(tmp_path / "bench" / "entries.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(r["arm"], r["index"], r["entries"], r["nprobe"], r["bytes"]) for r in rows}
    assert len(rows) == len(found) == 14
    for arm in ("passive", "active"):
        for nprobe in ("1", "2", "4"):
            assert (arm, "IVF4,PQ4x4", "1", nprobe, "10") in found  # 4 x 4 bits and the id
        for nprobe in ("1", "2"):
            assert (arm, "IVF4,PQ4x4", "4", nprobe, "40") in found
            assert (arm, "IVF4,PQ8x4", "1", nprobe, "12") in found
    for row in rows:
        assert row["images"] == "3"
        assert 0 <= float(row["low"]) <= float(row["recall"]) <= float(row["high"]) <= 1
        assert float(row["ms"]) > 0
    with Image.open(tmp_path / "bench" / "entries.png") as picture:
        assert picture.width > picture.height > 200
    assert "R@1 against bytes per image" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"idx_factory": "Flat"}, "Flat has no cells; expected an IVF index, e.g. IVF1024,PQ8x8."),
        ({"data_dir": "nowhere"}, "nowhere"),
    ],
    ids=str,
)
def test_what_cannot_be_benched_is_an_error(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: dict[str, Any], message: str
) -> None:
    assert bench_entries.main(flags(toy, tmp_path, **more)) == 2
    assert message in capsys.readouterr().err


def test_more_entries_than_there_are_edits_are_refused(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bench_entries.main([*flags(toy, tmp_path), "--entries", "1", "17"])
    assert "expected --entries from 1 to 16, got [1, 17]" in capsys.readouterr().err


@pytest.fixture(scope="module")
def crowded() -> tuple[VectorIndex, Arm]:
    """30 images with 6 entries each and copies near some of them, and an index with references."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 1, 16))
    entries = centres + rng.normal(scale=0.8, size=(30, 6, 16))
    copies = centres + rng.normal(scale=0.9, size=(30, 15, 16))
    copies[3, 4] = np.nan
    index = new_index("IVF8,PQ4x4np", "L2", 16)
    index.train(rng.normal(size=(400, 16)).astype(np.float32))
    index.add(rng.normal(scale=1.3, size=(300, 16)).astype(np.float32), np.arange(300))
    ids = (1 << 62) + np.arange(30)
    return index, Arm(ids, [], entries.astype(np.float32), copies.astype(np.float32))


@pytest.mark.parametrize("taken", [[0], [0, 3], [0, 1, 2, 3, 4, 5]], ids=str)
def test_recall_worked_out_from_distances_is_that_of_the_index(
    crowded: tuple[VectorIndex, Arm], taken: list[int]
) -> None:
    index, arm = crowded
    worked_out = Candidates(index, arm).recall(taken)
    filled = VectorIndex.from_bytes(index.to_bytes(), "IVF8,PQ4x4np", "L2")
    filled.add(arm.entries[:, taken].reshape(-1, 16), np.repeat(arm.ids, len(taken)))
    found = hits_of(filled, arm.ids, arm.copies)
    assert np.isnan(found).sum() == 1
    assert np.isnan(found[3, 4])
    assert worked_out == pytest.approx(np.nanmean(found, axis=0).mean(), abs=0.005)
    assert 0.1 < worked_out < 0.95


def test_the_best_addition_is_taken_first(crowded: tuple[VectorIndex, Arm]) -> None:
    candidates = Candidates(*crowded)
    order = list(candidates.greedy(5))
    assert sorted(number for number, _ in order) == [1, 2, 3, 4, 5]
    assert order[0][1] == max(candidates.recall([0, number]) for number in range(1, 6))
    taken = [0]
    for number, recall in order:
        taken.append(number)
        assert recall == candidates.recall(taken)


@pytest.mark.slow
def test_edits_are_chosen_from_photos(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = take_images(toy, tmp_path / "photos", 2)
    assert select_entries.main(["--data_dir", str(photos), "--workers", "0", "--count", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| 1 | the method's entry alone |")
    assert len(lines) == 5
    assert all(line.split(" | ")[1] in {edit.name for edit in CANDIDATES} for line in lines[3:])


def test_a_folder_without_photos_and_a_wrong_count_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert select_entries.main(["--data_dir", str(tmp_path)]) == 2
    assert "no images in" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        select_entries.main(["--data_dir", str(tmp_path), "--count", "0"])
    assert "expected --count from 1 to 34, got 0" in capsys.readouterr().err
