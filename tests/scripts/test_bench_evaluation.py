from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from active_indexing.images.decoding import read
from scripts import bench_evaluation
from scripts.bench_evaluation import Round, summary
from scripts.benches import made_up
from tests.conftest import Toy

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "evaluation.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_small_bench_times_both_sizes(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--output_dir", str(tmp_path), "--data_dir", str(toy.images), "--model_path", str(toy.model)]
    flags += ["--resize_size", "32", "--idx_factory", "IVF4,PQ4x4np", "--training_rows", "700"]
    flags += ["--megapixels", "0.004", "0.02", "--images", "2", "1", "--rounds", "2", "--workers", "1"]
    assert bench_evaluation.main(flags) == 0
    rows = table(tmp_path)
    assert [(row["megapixels"], row["images"], row["rounds"]) for row in rows] == [
        ("0.004", "2", "2"),
        ("0.02", "1", "2"),
    ]
    for row in rows:
        assert 0 < float(row["descriptor_s"]) < float(row["attack_s"])
        assert 0 < float(row["pace_low"]) <= float(row["pace"]) <= float(row["pace_high"])
        assert 1 <= float(row["pace_bound"]) <= 2
        assert float(row["cpu"]) > 0.5
        assert float(row["peak_mib"]) > 100
    assert "Seconds per image of the 15 attacks" in capsys.readouterr().out


def test_ratios_are_taken_round_by_round() -> None:
    rounds = [
        Round(attack=4, descriptor=2, wall=6, attack_cpu=8, descriptor_cpu=4, wall_cpu=18, peak_mib=70),
        Round(attack=2, descriptor=1, wall=4, attack_cpu=4, descriptor_cpu=2, wall_cpu=9, peak_mib=90),
    ]
    assert summary(0.15, rounds, images=2, workers=2) == {
        "megapixels": 0.15,
        "images": 2,
        "workers": 2,
        "attack_s": "1.5000",
        "descriptor_s": "0.7500",
        "wall_s": "2.5000",
        "pace": "1.75",  # 6 / 4 and 4 / 2
        "pace_low": "1.62",
        "pace_high": "1.88",
        "pace_bound": "1.50",  # (2 + 4) / 4 and (1 + 2) / 2
        "work": "1.17",  # 6 / 6 and 4 / 3
        "cpu": "1.50",
        "peak_mib": "90",
        "rounds": 2,
    }


def test_photos_are_scaled_to_the_number_of_megapixels(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    queries = made_up.write_sized(tmp_path / "photos", tmp_path / "sized", 2, megapixels=0.03)
    assert [query.id for query in queries] == [0, 1]
    assert [read(query.path).srgb.shape for query in queries] == [(150, 200, 3)] * 2


def test_the_peak_is_that_of_the_block() -> None:
    with bench_evaluation.peak_memory() as before:
        pass
    with bench_evaluation.peak_memory() as during:
        held = np.ones(200 * 2**20, np.uint8)
        assert held[-1]
        bench_evaluation.time.sleep(3 * bench_evaluation.POLL_SECONDS)
    # What earlier tests left behind may be given back meanwhile.
    assert 100 < during[0] - before[0] < 300


@pytest.mark.parametrize("flags", [["--workers", "0"], ["--images", "4"]])
def test_flags_that_do_not_fit_are_refused(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench_evaluation.main(["--output_dir", str(tmp_path / "out"), *flags])
    assert (
        "expected --workers of at least 1, and as many --images as --megapixels." in capsys.readouterr().err
    )
    assert not os.path.exists(tmp_path / "out")
