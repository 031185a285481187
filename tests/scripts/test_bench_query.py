"""Smoke tests: the benches of query and of the store run, and their tables hold what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.store import search
from scripts import bench_query, bench_store
from tests.conftest import pattern


def photos(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for n in range(count):
        Image.fromarray(pattern(rng, 90, 120)).save(folder / f"{n}.png")
    return folder


@pytest.mark.slow
def test_the_bench_of_query_measures_recall_and_false_alarms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search, "LEAST_CODES", search.LEAST_CODES)  # the bench changes it
    monkeypatch.setattr(bench_query, "NON_MATCHING_ATTACKS", 2)
    dim = load_descriptor(DescriptorConfig(), torch.device("cpu")).dim
    rows = np.random.default_rng(0).normal(size=(60, dim)).astype(np.float32)
    np.save(tmp_path / "fts.npy", rows / np.linalg.norm(rows, axis=1, keepdims=True))
    words = [
        "--data_dir", photos(tmp_path / "ours", 1, 0), "--references", tmp_path / "fts.npy",
        "--non_matching", photos(tmp_path / "theirs", 2, 1),
        "--calibration", photos(tmp_path / "third", 8, 2),
        "--active", "False", "--nprobe", "1024", "--output", tmp_path / "figures.json",
    ]  # fmt: skip
    assert bench_query.main([str(word) for word in words]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["photos"], figures["images"]) == (1, 61)
    recall = figures["recall"]
    assert recall["exact, one view"]["none"] == recall["nprobe 1024, all views"]["none"] == 1
    assert len(recall["nprobe 1024, one view"]) == 15
    alarms = figures["false positives"]["calibrated"]
    assert (alarms["foreign queries"], alarms["copies"]) == (4, 15)
    assert alarms["low"] <= alarms["rate"] <= alarms["high"]
    assert "| mean |" in capsys.readouterr().out


@pytest.mark.slow
def test_the_bench_of_the_store_has_a_row_for_each_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_store.main(["--sizes", "40", "90", "--output", str(tmp_path / "figures.json")]) == 0
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert [row["images"] for row in rows] == [40, 90]
    assert all(value > 0 for row in rows for value in row.values())
    assert len(capsys.readouterr().out.splitlines()) == 4
