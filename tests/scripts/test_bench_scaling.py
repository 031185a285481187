from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from active_indexing.cli.main import parser_of
from scripts import bench_scaling
from scripts.benches import made_up
from tests.conftest import Toy


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def without_complete_runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been run."""
    commands: list[list[str]] = []

    def note(command: list[str]) -> tuple[float, float]:
        commands.append(command)
        return 123.4, 5.6

    monkeypatch.setattr(bench_scaling, "peak_memory", note)
    return commands


def test_a_small_bench_fills_its_three_tables(
    toy: Toy, tmp_path: Path, without_complete_runs: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--output_dir", str(tmp_path), "--model_path", str(toy.model), "--resize_size", "32"]
    flags += ["--idx_factory", "IVF4,PQ4x4np", "--training_rows", "700", "--references", "40", "90"]
    flags += ["--images", "2", "3", "--batch_size", "3", "--side", "40", "--rounds", "3"]
    assert bench_scaling.main([*flags, "--", "--eval_icd", "False"]) == 0
    for name, rounds in (("batches", "3"), ("index", "60")):
        table = rows(tmp_path / f"{name}.csv")
        assert [row["references"] for row in table] == ["40", "90"]
        assert [row["rounds"] for row in table] == [rounds, rounds]
        assert float(table[0]["ratio"]) == 1.0
        for row in table:
            assert 0 < float(row["quartile_1"]) <= float(row["median"]) <= float(row["quartile_3"])
    assert rows(tmp_path / "memory.csv") == [
        {"images": count, "peak_mib": "123", "seconds": "5.6"} for count in ("2", "3")
    ]
    assert "Seconds to release a batch of 3 images" in capsys.readouterr().out


def test_complete_runs_get_flags_that_main_understands(
    toy: Toy, tmp_path: Path, without_complete_runs: list[list[str]]
) -> None:
    flags = ["--output_dir", str(tmp_path), "--model_path", str(toy.model), "--references", "--images", "2"]
    assert bench_scaling.main([*flags, "--", "--eval_icd", "False"]) == 0
    command = without_complete_runs[0]
    assert command[:2] == [sys.executable, "main.py"]
    understood = parser_of("run").parse_args(command[2:])
    assert understood.model_path == toy.model
    assert understood.eval_icd is False
    assert not (tmp_path / "batches.csv").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_counts_children() -> None:
    hold = (
        "import time; held = bytearray(60 * 2**20); held[::4096] = b'x' * len(held[::4096]); time.sleep(1.5)"
    )
    alone, _ = bench_scaling.peak_memory([sys.executable, "-c", hold])
    pair = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {hold!r}])\n"
        f"{hold}\nchild.wait()"
    )
    together, seconds = bench_scaling.peak_memory([sys.executable, "-c", pair])
    assert 60 < alone < 100
    assert seconds > 1
    assert together > alone + 50


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_run_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(RuntimeError, match="ended with 3:\nlast words"):
        bench_scaling.peak_memory([sys.executable, "-c", "print('last words'); raise SystemExit(3)"])


def test_the_vectors_are_unit_and_follow_their_seed(tmp_path: Path) -> None:
    first = np.load(made_up.write_unit_vectors(tmp_path / "a.npy", 60_000, 8, seed=1))
    again = np.load(made_up.write_unit_vectors(tmp_path / "b.npy", 60_000, 8, seed=1))
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert np.array_equal(first, again)
    assert len(np.unique(first[:, 0])) > 50_000
