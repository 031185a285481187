"""The passive baseline that an active run tells: the figures of a separate passive run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import active_indexing
from active_indexing.attacks import jobs
from active_indexing.cli.console import summary_text
from active_indexing.index.vector_index import VectorIndex
from active_indexing.pipeline import RunSummary
from active_indexing.release.image import ImageReleaser
from tests.conftest import Toy
from tests.runs import released, settings_of, tables, take_images

COUNT = 4


@pytest.fixture(scope="module")
def world(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, and one that is transparent and turned by its EXIF, so that its release is no plain copy."""
    folder = tmp_path_factory.mktemp("baseline")
    take_images(toy, folder / "photos", COUNT - 1)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).resize((120, 80)).save(folder / "photos" / "odd.png", exif=exif)
    return folder


@pytest.fixture
def quick(toy: Toy, world: Path) -> dict[str, Any]:
    return settings_of(toy, world / "indexes", eval_icd=False)


def activate(world: Path, output: Path, settings: dict[str, Any], **more: Any) -> RunSummary:
    return active_indexing.activate(world / "photos", output, **{**settings, **more})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"save_format": "jpeg", "entries": 3, "eval_sample": 2, "batch_size_eval": 1},
        {"idx_factory": "Flat", "quant": "IP", "save_format": "webp", "save_quality": 40},
        {"idx_factory": "HNSW8", "save_imgs": False, "workers": 2},
    ],
    ids=str,
)
def test_the_figures_are_those_of_a_separate_passive_run(
    world: Path, quick: dict[str, Any], tmp_path: Path, more: dict[str, Any]
) -> None:
    passive = active_indexing.baseline(world / "photos", tmp_path / "passive", **(quick | more))
    active = activate(world, tmp_path / "active", quick, **more)
    rows = (tmp_path / "active" / "retr_passive_df.csv").read_text()
    assert rows == (tmp_path / "passive" / "retr_df.csv").read_text()
    assert active.content["passive_retrieval"] == passive.content["retrieval"]
    assert rows != (tmp_path / "active" / "retr_df.csv").read_text()
    assert "passive_retrieval" not in passive.content
    assert not (tmp_path / "passive" / "retr_passive_df.csv").exists()
    assert not (tmp_path / "active" / ".journal" / "passive").exists()

    without = activate(world, tmp_path / "without", quick | more, baseline=False)
    assert "passive_retrieval" not in without.content
    ours, theirs = tables(tmp_path / "without"), tables(tmp_path / "active")
    assert theirs.pop("retr_passive_df.csv") == rows
    assert ours == theirs, "the other CSVs do not know of the baseline"
    assert released(tmp_path / "without") == released(tmp_path / "active")


def test_nothing_is_done_twice_and_switching_off_removes_the_table(
    world: Path, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = activate(world, tmp_path / "out", quick)
    before = tables(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "perform", None)
        patch.setattr(ImageReleaser, "unchanged", None)
        assert activate(world, tmp_path / "out", quick).content["retrieval"] == first.content["retrieval"]
    assert tables(tmp_path / "out") == before
    activate(world, tmp_path / "out", quick, baseline=False)
    assert "retr_passive_df.csv" not in tables(tmp_path / "out")
    activate(world, tmp_path / "out", quick)
    assert tables(tmp_path / "out") == before


def test_killed_while_the_baseline_was_made_it_goes_on(
    world: Path, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = activate(world, tmp_path / "undisturbed", quick, entries=2)
    unchanged, count = ImageReleaser.unchanged, 0

    def stopped(self: ImageReleaser, *arguments: Any) -> np.ndarray:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return unchanged(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ImageReleaser, "unchanged", stopped)
        with pytest.raises(KeyboardInterrupt):
            activate(world, tmp_path / "out", quick, entries=2)
    (tmp_path / "out" / ".journal" / "passive").mkdir(exist_ok=True)
    (tmp_path / "out" / ".journal" / "passive" / "left.png").touch()  # as a killed run leaves it
    activate(world, tmp_path / "out", quick, entries=2)
    assert tables(tmp_path / "out") == tables(undisturbed.output_dir)
    assert not (tmp_path / "out" / ".journal" / "passive").exists()


def test_images_whose_input_is_gone_have_no_baseline_and_the_table_says_so(
    toy: Toy, quick: dict[str, Any], tmp_path: Path
) -> None:
    take_images(toy, tmp_path / "photos", 3)
    activate(tmp_path, tmp_path / "out", quick)
    gone = next((tmp_path / "photos").rglob("*.png"))
    gone.unlink()
    content = activate(tmp_path, tmp_path / "out", quick).content
    assert {row["n"] for row in content["passive_retrieval"]} == {2}
    assert content["retrieval"][0]["n"] == 3
    text = summary_text(content, tmp_path / "out")
    assert "2 of 3 images, whose inputs are still there" in text
    left = set(pd.read_csv(tmp_path / "out" / "retr_passive_df.csv")["image_index"])
    assert len(left) == 2


def test_an_index_that_cannot_be_copied_is_a_warning(
    world: Path, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: VectorIndex) -> VectorIndex:
        raise ValueError("this kind can't be copied.")

    monkeypatch.setattr(VectorIndex, "copy", refuse)
    with pytest.warns(UserWarning, match="no passive baseline: this kind can't be copied"):
        summary = activate(world, tmp_path / "out", quick)
    assert summary.content["retrieval"]
    assert "retr_passive_df.csv" not in tables(tmp_path / "out")


def test_the_console_shows_it_beside_the_active_figures(
    world: Path, quick: dict[str, Any], tmp_path: Path
) -> None:
    content = activate(world, tmp_path / "out", quick).content
    lines = summary_text(content, tmp_path / "out").splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("attack"))
    assert lines[head].split()[-2:] == ["R@1", "passive"]
    rows = content["passive_retrieval"]
    for line, row in zip(lines[head + 1 :], rows, strict=False):
        assert line.split()[-1] == f"{row['r@1']:.3f}"
    assert lines[head + 16].split()[-1] == f"{np.mean([row['r@1'] for row in rows]):.3f}"
    assert lines[head + 17].startswith("R@1 passive: the same images without activation")
    shutil.rmtree(tmp_path / "out")
