from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from active_indexing.artefacts.run_log import RunLog, Stages, note


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(path: Path) -> list[str]:
    return [event["event"] for event in events(path)]


def test_a_line_an_event_with_its_time_and_the_end_with_what_was_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with RunLog() as log:
        note("run_started", folder=Path("photos"))  # before the output folder is taken
        assert not path.exists()
        with log.to(path):
            stages = Stages("release")
            note("image", image=1 << 62, source="ä\udcff.png", seconds=0.5)
            stages.end()
            log.counts = {"released": 1}
    started, begun, image, ended, last = events(path)
    assert (started["event"], started["folder"]) == ("run_started", "photos")
    assert (begun["event"], ended["event"], ended["stage"]) == ("stage_started", "stage_ended", "release")
    assert (image["image"], image["seconds"]) == (1 << 62, 0.5)
    assert ended["seconds"] == stages.laps["release"]
    assert (last["event"], last["status"], last["released"]) == ("run_ended", "finished", 1)
    times = [datetime.fromisoformat(event["time"]) for event in events(path)]
    assert times == sorted(times)
    assert abs(times[0].timestamp() - os.stat(path).st_mtime) < 60


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), {"status": "interrupted"}),
        (ValueError("a sentence"), {"status": "failed", "error": "ValueError: a sentence"}),
    ],
)
def test_how_a_run_ended_is_told(tmp_path: Path, error: BaseException, told: dict[str, str]) -> None:
    with pytest.raises(type(error)), RunLog() as log, log.to(tmp_path / "log.jsonl"):
        raise error
    assert events(tmp_path / "log.jsonl")[-1].items() >= told.items()


def test_a_resumed_run_goes_on_after_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    killed = f"""
import os, signal
from pathlib import Path
from active_indexing.artefacts.run_log import RunLog, note
with RunLog() as log, log.to(Path({str(path)!r})):
    note("image", image=1)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    assert names(path) == ["image"]
    with open(path, "a") as file:
        file.write('{"time": "2026-')  # as a power cut leaves it
    with RunLog() as log, log.to(path):
        note("image", image=2)
    assert names(path) == ["image", "image", "run_ended"]


def test_warnings_are_told_and_shown_as_before(tmp_path: Path) -> None:
    shown = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: shown.append(str(message))
        with RunLog() as log, log.to(tmp_path / "log.jsonl"):
            warnings.warn("the disk is small", stacklevel=1)
        warnings.warn("later", stacklevel=1)
    assert shown == ["the disk is small", "later"]
    told = [event["message"] for event in events(tmp_path / "log.jsonl") if event["event"] == "warning"]
    assert told == ["the disk is small"]


def test_a_run_that_never_took_a_folder_writes_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    logger = logging.getLogger("active_indexing.run")
    before = logger.level, list(logger.handlers), warnings.showwarning
    with RunLog():
        note("run_started")
    assert (logger.level, list(logger.handlers), warnings.showwarning) == before
    assert list(tmp_path.iterdir()) == []


def test_a_program_can_listen(caplog: pytest.LogCaptureFixture) -> None:
    note("image", image=3)  # no run is going on
    with RunLog():
        note("image", image=4)
    assert [record.run_event for record in caplog.records] == [{"event": "image", "image": 4}]
    assert caplog.messages == ["image image=4"]
