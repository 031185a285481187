from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.evaluation.tables import RETRIEVAL_COLUMNS, retrieval_row
from active_indexing.records import ManifestRow, QueryRow
from active_indexing.release.manifest import manifest_row
from active_indexing.reporting import image_figures, image_quality, recall, runs


def a_run(folder: Path, first_found: bool, psnr: float) -> Path:
    """Two images under two attacks; image 2 is never found under blur."""
    found, lost = np.array([1, 9]), np.array([9, 8])
    distances = np.array([0.25, 0.5], dtype=np.float32)
    rows = [
        QueryRow(1, "none", "", found, distances),
        QueryRow(2, "none", "", np.array([9, 2]), distances),
        QueryRow(1, "blur", "11.0", found if first_found else lost, distances),
        QueryRow(2, "blur", "11.0", lost, distances),
    ]
    write_csv(folder / "retr_df.csv", RETRIEVAL_COLUMNS, [retrieval_row(0, row) for row in rows])
    manifest = [
        ManifestRow(1, "a.png", "imgs/a.png", "released", psnr=psnr, ssim=0.5, linf=3),
        ManifestRow(2, "b.png", "imgs/b.png", "released", psnr=float("inf"), ssim=1.0, linf=0),
        ManifestRow(3, "c.png", reason="broken"),
    ]
    write_csv(folder / "manifest.csv", ManifestRow.columns(), [manifest_row(row) for row in manifest])
    counts = {"uAP": 0.5, "matching": 2, "non_matching": 0}
    (folder / "run.json").write_text(json.dumps({"copy_detection": counts}))
    return folder


@pytest.fixture
def two_runs(tmp_path: Path) -> dict[str, Path]:
    return {
        "passive": a_run(tmp_path / "passive", first_found=False, psnr=float("inf")),
        "active": a_run(tmp_path / "active", first_found=True, psnr=40.0),
    }


def test_the_table_has_the_means_of_each_attack_in_the_order_of_the_csv(two_runs: dict[str, Path]) -> None:
    table = recall.retrieval_table(two_runs["active"])
    assert list(table.index) == [("none", ""), ("blur", "11.0")]
    assert table.loc[("none", ""), "r@1"] == 0.5
    assert table.loc[("none", ""), "r@10"] == 1.0
    assert table.loc[("none", ""), "ap"] == 0.75
    assert table.loc[("blur", "11.0"), "ap"] == 0.5
    assert table.loc[("blur", "11.0"), "n"] == 2


def test_arms_stand_side_by_side_with_the_mean_of_attacks_last(two_runs: dict[str, Path]) -> None:
    table = recall.comparison(two_runs)
    assert list(table.columns) == ["passive", "active"]
    assert table.loc[("blur", "11.0")].tolist() == [0.0, 0.5]
    assert table.iloc[-1].tolist() == [0.25, 0.5]


def test_infinite_psnr_and_skipped_images_are_left_out_of_the_quality(two_runs: dict[str, Path]) -> None:
    table = image_quality.quality_table(two_runs)
    assert table.loc[("active", "psnr"), "count"] == 1
    assert table.loc[("active", "psnr"), "mean"] == 40.0
    assert table.loc[("passive", "psnr"), "count"] == 0
    assert table.loc[("active", "linf"), "max"] == 3


def test_runs_of_other_images_are_told_apart(two_runs: dict[str, Path]) -> None:
    assert image_quality.same_images(two_runs)
    manifest = pd.read_csv(two_runs["active"] / "manifest.csv").iloc[:1]
    manifest.to_csv(two_runs["active"] / "manifest.csv", index=False)
    assert not image_quality.same_images(two_runs)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no finished run: no run\.json"):
        runs.read_run(tmp_path)


def test_the_difference_is_grey_where_nothing_changed_and_amplified_elsewhere() -> None:
    original = np.full((1, 3, 3), 100, dtype=np.uint8)
    released = original.copy()
    released[0, 1] += 2
    released[0, 2] -= 50
    assert image_figures.difference(original, released)[0, :, 0].tolist() == [128, 148, 0]


def test_an_older_run_without_the_newer_measures_is_read(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "old", first_found=True, psnr=40.0)
    manifest = pd.read_csv(folder / "manifest.csv").drop(columns=["ssimulacra2", "butteraugli"])
    manifest.to_csv(folder / "manifest.csv", index=False)
    table = image_quality.quality_table({"old": folder})
    assert [measure for _, measure in table.index] == ["psnr", "ssim", "linf"]
    released = manifest[manifest["status"] == "released"]
    assert list(image_quality.worst_first(released)["id"]) == [1, 2]


def test_what_is_seen_most_comes_first(tmp_path: Path) -> None:
    rows = [
        ManifestRow(n, f"{n}.png", f"imgs/{n}.png", "released", psnr=40.0, ssim=1.0, linf=3, ssimulacra2=seen)
        for n, seen in ((1, 91.0), (2, 78.0), (3, 85.0))
    ]
    write_csv(tmp_path / "manifest.csv", ManifestRow.columns(), [manifest_row(row) for row in rows])
    manifest = pd.read_csv(tmp_path / "manifest.csv")
    assert list(image_quality.worst_first(manifest)["id"]) == [2, 3, 1]
    assert image_quality.quality_table({"new": tmp_path}).loc[("new", "ssimulacra2"), "min"] == 78
