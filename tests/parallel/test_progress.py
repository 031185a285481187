from __future__ import annotations

import io
import re
import subprocess
import sys
import time

import pytest
from tqdm import tqdm

from active_indexing.parallel import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_gets_whole_lines_and_no_carriage_return(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr("sys.stderr", told)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    assert list(progress.progress_bar(_slow(6, 0.03), total=6, desc="release", unit="img")) == list(range(6))
    assert "\r" not in told.getvalue()
    lines = told.getvalue().splitlines()
    assert 2 <= len(lines) <= 6
    assert all(re.fullmatch(r"release: \d of 6 img, 00:00 so far, \S+ left, \S+", line) for line in lines)
    assert lines[-1].startswith("release: 6 of 6 img")


def test_short_work_is_one_line_and_work_done_earlier_none(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr("sys.stderr", told)
    with progress.progress_bar(total=20, initial=18, desc="release", unit="img") as bar:
        bar.update()
        bar.update()
    with progress.progress_bar(total=20, initial=20, desc="release", unit="img"):
        pass
    with progress.progress_bar(total=20, desc="release", unit="img", disable=True) as bar:
        bar.update()
    assert [line.split(",")[0] for line in told.getvalue().splitlines()] == ["release: 20 of 20 img"]


def test_lines_become_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    bar = progress.progress_bar(total=100, desc="release", unit="img")
    assert bar.mininterval == progress.LINE_SECONDS
    bar.start_t -= 86_400
    bar.last_print_t -= 86_400
    bar.update()
    assert bar.mininterval == pytest.approx(86_400 / progress.LINES, rel=0.01)
    bar.close()


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Terminal()
    monkeypatch.setattr("sys.stderr", told)
    with progress.progress_bar(total=2, desc="release", unit="img") as bar:
        bar.update(2)
    assert type(bar) is tqdm
    assert told.getvalue().startswith("\rrelease:")


def test_knowing_about_progress_loads_no_torch() -> None:
    program = "import sys, active_indexing.parallel.progress; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def _slow(count: int, seconds: float) -> object:
    for number in range(count):
        time.sleep(seconds)
        yield number
