from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from active_indexing.artefacts.journal import Journal, KeyedJournal, OtherRunError

HEADER = {"seed": 0, "activation": {"iterations": 10, "target": "ori_ft"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "release.jsonl"


def filled(path: Path, count: int = 3) -> None:
    with KeyedJournal(path, HEADER) as journal:
        for number in range(count):
            journal.put(str(number), {"value": number * number})


def test_items_are_found_again_after_opening(path: Path) -> None:
    filled(path)
    with KeyedJournal(path, HEADER) as journal:
        assert [journal.get(str(number))["value"] for number in range(3)] == [0, 1, 4]  # type: ignore[index]
        assert "2" in journal
        assert "3" not in journal
        assert journal.get("3") is None


def test_the_newest_item_of_a_key_counts_now_and_after_opening(path: Path) -> None:
    filled(path)
    with KeyedJournal(path, HEADER) as journal:
        journal.put("1", {"value": "new"})
        journal.put('odd "key" é\n', {"value": "odd"})
        assert journal.get("1")["value"] == "new"  # type: ignore[index]
    with KeyedJournal(path, HEADER) as journal:
        assert journal.get("1")["value"] == "new"  # type: ignore[index]
        assert journal.get('odd "key" é\n')["value"] == "odd"  # type: ignore[index]


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_last_line_cut_anywhere_is_dropped_and_the_next_one_is_whole(path: Path, cut: int) -> None:
    filled(path)
    content = path.read_bytes()
    last = len(content.splitlines(keepends=True)[-1])
    path.write_bytes(content[: len(content) - min(cut, last - 1)])
    with KeyedJournal(path, HEADER) as journal:
        assert "2" not in journal
        journal.put("2", {"value": 4})
    assert path.read_bytes() == content


def test_a_torn_line_longer_than_a_read_block_is_dropped(path: Path) -> None:
    filled(path)
    content = path.read_bytes()
    path.write_bytes(content + b'{"key": "3", "value": "' + b"x" * 200_000)
    KeyedJournal(path, HEADER).close()
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b'{"seed": 0, "activ'])
def test_a_journal_whose_header_was_not_finished_is_a_new_one(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with KeyedJournal(path, HEADER) as journal:
        journal.put("0", {"value": 0})
    filled(path)
    assert json.loads(path.read_bytes().splitlines()[0]) == HEADER


def test_another_header_is_an_error_that_names_the_setting_and_both_values(path: Path) -> None:
    filled(path)
    other = {"seed": 0, "activation": {"iterations": 5, "target": "ori_ft"}}
    with pytest.raises(OtherRunError, match=r"^activation.iterations was 10 and is now 5$") as told:
        KeyedJournal(path, other)
    assert told.value.differences == {"activation.iterations": (10, 5)}
    filled(path)  # the lock was given back


def test_starting_over_shows_every_item_before_it_is_dropped(path: Path) -> None:
    filled(path)
    dropped: list[dict] = []
    with KeyedJournal(path, {"seed": 1}, fresh=True, on_drop=dropped.append) as journal:
        assert "0" not in journal
    assert [item["value"] for item in dropped] == [0, 1, 4]
    assert path.read_bytes().splitlines() == [b'{"seed": 1}']


def test_a_second_opening_is_refused_until_the_first_closes(path: Path) -> None:
    with (
        Journal(path, HEADER),
        pytest.raises(BlockingIOError, match=r"another run holds .*release.jsonl; wait until it ends"),
    ):
        Journal(path, HEADER)
    Journal(path, HEADER).close()


def test_a_killed_process_holds_nothing(path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from active_indexing.artefacts.journal import KeyedJournal\n"
        "journal = KeyedJournal(Path(sys.argv[1]), {'seed': 0})\n"
        "journal.put('0', {'value': 0}); print('ready', flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(BlockingIOError, match="another run"):
            KeyedJournal(path, {"seed": 0})
        os.kill(process.pid, signal.SIGKILL)
    with KeyedJournal(path, {"seed": 0}) as journal:
        assert "0" in journal


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"[1, 2]\n", b"nonsense\n"])
def test_a_file_that_is_no_journal_is_an_error(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a journal of this program, or is damaged; delete it"):
        KeyedJournal(path, HEADER)


def test_a_damaged_line_in_the_middle_is_an_error(path: Path) -> None:
    filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0\0\0\0\n" + lines[2])
    with pytest.raises(ValueError, match="is damaged; give --existing overwrite to start over"):
        KeyedJournal(path, HEADER)


def test_opening_reads_over_large_items_without_parsing_them(path: Path) -> None:
    with KeyedJournal(path, HEADER) as journal:
        journal.put("0", {"values": list(range(1000, 3000))})
    line = path.read_bytes().splitlines(keepends=True)[1]
    with open(path, "ab") as file:
        file.write(line * 3000)
    start = time.process_time()
    KeyedJournal(path, HEADER).close()
    opened = time.process_time() - start
    start = time.process_time()
    for _ in range(3000):
        json.loads(line)
    assert opened < (time.process_time() - start) / 3
