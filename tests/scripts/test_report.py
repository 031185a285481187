from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import report
from tests.reporting.outputs import query, write_output

ROOT = Path(__file__).parents[2]


def test_the_page_lies_in_the_last_folder_and_its_place_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arm in ("passive", "active"):
        write_output(tmp_path / arm, active=arm == "active", retrieval=[query(0, "none", "", 0)])
    assert report.main([str(tmp_path / "passive"), str(tmp_path / "active")]) == 0
    assert f"the report is {tmp_path / 'active' / 'report.html'}" in capsys.readouterr().out
    assert (tmp_path / "active" / "report.html").is_file()
    assert not (tmp_path / "passive" / "report.html").exists()


def test_a_folder_without_a_run_ends_with_2_and_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} holds no finished run")


def test_a_report_loads_neither_torch_nor_faiss() -> None:
    modules = ", ".join(f"active_indexing.reporting.{name}" for name in ("page", "cells", "image_figures"))
    code = f"import sys, {modules}; print([m for m in ('torch', 'faiss') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
