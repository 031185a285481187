"""``--dry_run``: what is told, and that nothing is written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from active_indexing.cli import main
from active_indexing.config import configure
from active_indexing.dry_run import _attack_seconds, _release_seconds, _Sample, dry_run
from tests.conftest import Toy
from tests.runs import flags, settings_of, take_images


@pytest.fixture
def settings(toy: Toy, tmp_path: Path) -> dict[str, Any]:
    """A folder with three images, one that is cut off, a text and an animation; the index is trained."""
    photos = take_images(toy, tmp_path / "photos", 3)
    (photos / "text.jpg").write_bytes(b"To whom it may concern")
    whole = next(photos.rglob("*.png")).read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    chosen = settings_of(toy, tmp_path / "indexes", eval_icd=False, data_dir=photos)
    del chosen["fts_reference_path"]
    return chosen | {"output_dir": tmp_path / "out"}


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_a_dry_run_tells_what_the_run_does_and_writes_nothing(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(tmp_path)
    assert main.main([*flags(settings), "--dry_run"]) == 0
    told = capsys.readouterr().out
    assert "is not trained yet, which the run does first" in told
    assert re.search(r"^time: about \d+ s \(from earlier measurements", told, flags=re.MULTILINE)
    assert files(tmp_path) == before

    once = settings | {"output_dir": tmp_path / "first", "eval_retrieval": False}  # trains the index
    assert main.main(flags(once)) == 0
    before = files(tmp_path)
    capsys.readouterr()
    assert main.main([*flags(settings), "--dry_run", "True"]) == 0
    told = capsys.readouterr().out
    assert files(tmp_path) == before
    photos = settings["data_dir"]
    assert f"skipped {photos / 'text.jpg'}: not a readable image in a supported format" in told
    assert f"skipped {photos / 'moving.gif'}: animated: 2 frames" in told
    assert "images: 4 of 0.0 megapixels in all, 2 skipped" in told
    assert re.search(r"time: about \d+ s \(measured on [12] of them, 1 at the same time\)", told)
    assert told.endswith("nothing was written\n")

    table = pd.read_csv(tmp_path / "first" / "manifest.csv")
    assert (table["status"] == "released").sum() == 3  # the header of the cut file was whole
    forecast = dry_run(configure(**once))
    assert (len(forecast.images), forecast.done) == (4, 3)
    forecast = dry_run(configure(**once, existing="overwrite"))
    assert forecast.done == 0
    written = sum(path.stat().st_size for path in (tmp_path / "first" / "imgs").rglob("*.*"))
    assert written / 3 < forecast.image_bytes < 3 * written
    assert 0 < forecast.seconds < 60


def test_nothing_that_can_be_released_leaves_with_1(settings: dict[str, Any], tmp_path: Path) -> None:
    shutil.rmtree(settings["data_dir"])
    settings["data_dir"].mkdir()
    (settings["data_dir"] / "text.jpg").write_bytes(b"To whom it may concern")
    assert main.main([*flags(settings), "--dry_run"]) == 1
    assert not (tmp_path / "out").exists()


def test_a_dry_run_needs_images_and_settings_that_fit(
    settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    assert main.main(["--dry_run"]) == 2
    assert "--dry_run looks at your images: give their folder with --data_dir" in capsys.readouterr().err
    assert main.main([*flags(settings | {"method": "roboost"}), "--dry_run"]) == 2
    assert files(tmp_path) == before


def test_time_grows_with_the_size_where_the_samples_tell_so() -> None:
    pixels = np.array([1e6, 2e6, 4e6])
    line = [_Sample(1_000_000, 2.0, 0.5, 1), _Sample(3_000_000, 4.0, 0.5, 1)]
    np.testing.assert_allclose(_release_seconds(pixels, line), [2, 3, 5])
    np.testing.assert_allclose(_attack_seconds(pixels, line, 15), 0.5)
    alike = [_Sample(1_000_000, 2.0, 1.0, 1), _Sample(1_100_000, 4.0, 2.0, 1)]
    np.testing.assert_allclose(_release_seconds(pixels, alike), [3, 3, 3])
    np.testing.assert_allclose(_release_seconds(np.array([12e6]), []), [5.4])
    np.testing.assert_allclose(_attack_seconds(np.array([12e6]), [], 30), [2 * 3.75])
