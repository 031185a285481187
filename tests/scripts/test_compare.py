from __future__ import annotations

from pathlib import Path

import pytest

from scripts import compare
from tests.reporting.test_image_quality import a_run


def test_two_arms_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [a_run(tmp_path / arm, arm == "active", 40.0) for arm in ("passive", "active")]
    assert compare.main([str(folder) for folder in folders]) == 0
    printed = capsys.readouterr().out
    assert "uAP 0.500" in printed
    assert "mean of attacks" in printed
    written = (tmp_path / "active" / "comparison.csv").read_text().splitlines()
    assert written[0] == "attack,attack_param,passive,active"
    assert written[2] == "blur,11.0,0.0,0.5"


def test_a_missing_run_ends_with_2_and_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_folders_of_one_name_keep_their_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [a_run(tmp_path / day / "active", True, 40.0) for day in ("monday", "tuesday")]
    compare.main([str(folder) for folder in folders])
    assert str(folders[0]) in capsys.readouterr().out
