from __future__ import annotations

from pathlib import Path

import pytest

from active_indexing.query.calibration import load_calibration
from active_indexing.records import NO_MATCH
from scripts import calibrate
from tests.query.test_calibration import a_run, row, twenty_queries


def test_the_thresholds_are_saved_beside_the_index_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "indexes" / "idx=IVF8,PQ4x4_quant=L2.index"
    index.parent.mkdir()
    index.write_bytes(b"index")
    run = a_run(tmp_path / "run", twenty_queries(), index=index)
    assert calibrate.main([str(run), "--false_positive_rate", "0.1"]) == 0
    printed = capsys.readouterr()
    assert "20 queries without a match (20 of them answered with a protected image), 2 wi" in printed.out
    assert "2 with one, false-positive rate 0.1, 95 % intervals" in printed.out
    assert "accept an answer with a distance below 0.3 (interval" in printed.out
    assert "or with a score, less the next neighbour's, above 18 (interval" in printed.out
    assert "right answers accepted 0.500" in printed.out
    assert printed.err == ""
    path = index.parent / "idx=IVF8,PQ4x4_quant=L2.calibration.json"
    assert load_calibration(path).distance.value == pytest.approx(0.3)
    assert f"the thresholds are in {path}" in printed.out


def test_too_few_queries_are_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path, [row(NO_MATCH, []), row(NO_MATCH, [0.75, 0.5])], quant="IP")
    assert calibrate.main([str(run), "--output", str(tmp_path / "mine.json"), "--level", "0.9"]) == 0
    printed = capsys.readouterr()
    assert "warning: 2 queries are too few for a rate of 0.01" in printed.err
    assert "90 % intervals" in printed.out
    assert "accept an answer with an inner product above 0.75 (interval 0.75 to unknown)" in printed.out
    assert load_calibration(tmp_path / "mine.json").level == 0.9
    assert calibrate.main([str(run), "--false_positive_rate", "0.6"]) == 0
    assert "inner product above anything" in capsys.readouterr().out


def test_a_folder_without_a_run_ends_with_2_and_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate.main([str(tmp_path)]) == 2
    assert "has no run.json; give the output folder of a finished run" in capsys.readouterr().err
