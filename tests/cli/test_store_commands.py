"""Commands about stores, as people give them: the examples of their help are run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from active_indexing.cli import main as command_line
from active_indexing.cli.store import duration
from active_indexing.store.archive import Store
from tests.conftest import Toy, pattern
from tests.store.worlds import some


def toy_flags(toy: Toy) -> list[str]:
    return (
        f"--active False --workers 1 --verbose 1 --model_name torchscript --model_path {toy.model} "
        f"--resize_size "
        f"{toy.size} --fts_training_path {toy.training} --idx_factory IVF8,PQ8x4np --idx_dir "
        f"{toy.model.parent}/idx"
    ).split()


@pytest.fixture
def workplace(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    some(toy, tmp_path / "photos", slice(0, 12))
    some(toy, tmp_path / "other_photos", slice(20, 36))
    assert command_line.main(["release", "photos", "--store", "archive", *toy_flags(toy)]) == 0
    (tmp_path / "suspicious.jpg").write_bytes((tmp_path / "photos" / "00.png").read_bytes())
    return tmp_path


def example(command: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The words of the example that a command's help shows."""
    with pytest.raises(SystemExit) as left:
        command_line.main([*command.split(), "--help"])
    assert left.value.code == 0
    (line,) = re.findall(r"^ {4}active-indexing (.*)$", capsys.readouterr().out, flags=re.MULTILINE)
    assert line.startswith(command)
    return shlex.split(line)


def test_the_example_of_every_help_works(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(workplace / "archive") as store:
        some_id = next(store.database.rows()).id
    for command, expected in {
        "release": 0, "query": 0, "calibrate": 0, "store status": 0, "store verify": 0, "store repair": 0,
        "store rebuild": 0, "store export": 0, "store remove": 1, "store": 0,
    }.items():  # fmt: skip
        words = example(command, capsys)
        assert command_line.main(words) == expected, f"{words}\n{capsys.readouterr()}"
    assert command_line.main(["store", "remove", "archive", str(some_id)]) == 0
    assert (workplace / "exported" / "codes.npy").is_file()


def test_the_example_of_the_report_s_help_works(
    toy: Toy, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = some(toy, workplace / "few", slice(0, 2))
    for arm in ("passive", "active"):
        flags = [*toy_flags(toy)[2:], "--iterations", "1", "--eval_sample", "none"]
        more = ["--active", str(arm == "active"), "--report", "False", "--output_dir", f"output/{arm}"]
        assert command_line.main(["run", "--data_dir", str(few), *flags, *more]) == 0
    capsys.readouterr()
    assert command_line.main(example("report", capsys)) == 0
    assert "output/active/report.html" in capsys.readouterr().out


def test_query_says_0_for_a_match_1_for_none_and_2_for_a_mistake(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["query", "suspicious.jpg", "--store", "archive", "--format", "jsonl"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verdict"], answer["view"]) == ("match", "file")
    assert command_line.main(["query", "missing.jpg", "--store", "archive"]) == 1
    assert "unreadable" in capsys.readouterr().out
    for words, told in (
        (["query", "--store", "archive"], "no images"),
        (["query", "suspicious.jpg", "--store", "nowhere"], "no store nowhere"),
        (["query", "suspicious.jpg", "--store", "archive", "--nprobe", "0"], "at least 1"),
        (["query", "--list", "none.txt", "--store", "archive"], "no list"),
    ):
        assert command_line.main(words) == 2
        assert told in capsys.readouterr().err


def test_query_writes_a_page_and_reads_lists(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "list.txt").write_text("photos/01.png\nphotos/02.png\n")
    words = ["query", "--list", "list.txt", "--store", "archive", "--html", "page.html", "--format", "csv"]
    assert command_line.main(words) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 3
    assert "thresholds are estimated" in told.err
    assert (workplace / "page.html").read_text().count("data:image/jpeg") == 4


def test_release_tells_what_it_did_and_refuses_other_settings(
    toy: Toy, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["release", "photos", "--store", "archive"]) == 0
    assert "0 released into archive, 12 were there already" in capsys.readouterr().out
    assert (
        command_line.main(["release", "photos", "--store", "archive", *toy_flags(toy), "--entries", "3"]) == 2
    )
    assert "--entries" in capsys.readouterr().err
    assert command_line.main(["release", "nowhere", "--store", "archive"]) == 2
    (workplace / "bad").mkdir()
    (workplace / "bad" / "x.png").write_bytes(b"x")
    assert command_line.main(["release", "bad", "--store", "archive"]) == 1
    assert "skipped" in capsys.readouterr().err


def test_verify_and_repair_find_what_is_damaged(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "archive" / "released" / "foreign.png").write_bytes(b"x")
    assert command_line.main(["store", "verify", "archive"]) == 1
    assert "no row tells of it" in capsys.readouterr().out
    assert command_line.main(["store", "repair", "archive"]) == 1
    told = capsys.readouterr().out
    assert "would delete it" in told
    assert "nothing was done; give --apply" in told
    assert (workplace / "archive" / "released" / "foreign.png").exists()
    assert command_line.main(["store", "repair", "archive", "--apply"]) == 0
    assert not (workplace / "archive" / "released" / "foreign.png").exists()
    assert command_line.main(["store", "verify", "archive", "--max-age", "1d", "--max_duration", "1h"]) == 0
    assert "12 verified lately" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("15m", 900), ("12h", 43_200), ("4w", 2_419_200)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def test_a_duration_that_is_none_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["store", "verify", "archive", "--max_age", "soon"])
    assert "expected a time like 90, 15m" in capsys.readouterr().err


def test_a_thief_writes_a_screenshot_and_a_caption(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(pattern(np.random.default_rng(5), 120, 160)).save(workplace / "photo.png")
    assert command_line.main(["thief", "photo.png"]) == 0
    assert capsys.readouterr().out.split() == ["found/screenshot.jpg", "found/caption.jpg"]
    with Image.open(workplace / "found" / "screenshot.jpg") as screenshot:
        assert screenshot.width > 160
    with Image.open(workplace / "found" / "caption.jpg") as caption:
        assert caption.height > 120
