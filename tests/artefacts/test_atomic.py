from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_indexing.artefacts import atomic, identity

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_a_file_appears_whole_and_leaves_no_other(tmp_path: Path) -> None:
    with atomic.atomic_file(tmp_path / "new" / "a.bin") as file:
        file.write(b"first ")
        assert not (tmp_path / "new" / "a.bin").exists()
        file.write(b"second")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"first second"


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    atomic.write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - raised while the file is open
        with atomic.atomic_file(path) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_write_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".hidden.tmp", "a.tmp", ".writing-not.png", "imgs.png"):
        (tmp_path / name).write_text("user's own")
    (tmp_path / ".writing-abc.tmp").write_bytes(b"half")  # what a kill leaves
    assert len(list(tmp_path.iterdir())) == 5
    atomic.remove_leftovers([tmp_path, tmp_path / "missing"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".hidden.tmp",
        ".writing-not.png",
        "a.tmp",
        "imgs.png",
    ]


def test_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    atomic.write_text(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "a", b"abc")
    assert identity.sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_json_keeps_accents_and_writes_paths_as_text(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "a.json", {"where": Path("photos/été")})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"where": "photos/été"}
    assert "été" in (tmp_path / "a.json").read_text("utf-8")


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_fingerprints_do_not_depend_on_the_order_of_keys(content: dict) -> None:
    assert identity.fingerprint(content) == identity.fingerprint(dict(reversed(content.items())))


def test_any_change_changes_the_fingerprint() -> None:
    contents = [{}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": [1]}, {"a": {"a": 1}}, {"a": None}]
    assert len({identity.fingerprint(content) for content in contents}) == len(contents)


def test_a_file_is_unchanged_until_its_bytes_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    state = json.loads(json.dumps(identity.file_state(path)))
    assert identity.is_unchanged(path, state)
    os.utime(path, ns=(1, 1))  # copied without its time
    assert identity.is_unchanged(path, state)
    path.write_bytes(b"abd")
    assert not identity.is_unchanged(path, state)
    path.write_bytes(b"abcd")
    assert not identity.is_unchanged(path, state)
    path.unlink()
    assert not identity.is_unchanged(path, state)


def test_what_is_no_file_has_no_state(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing", "."):
        assert identity.file_state(tmp_path / name) is None
    assert not identity.is_unchanged(tmp_path / "pipe", None)


def test_a_leftover_goes_when_the_folder_is_written_to_again_and_a_file_in_work_stays(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from active_indexing.artefacts import atomic\n"
        "with atomic.atomic_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, tmp_path / "a.index"], cwd=root, check=False)
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    assert left[0].read_bytes() == b"half"
    with atomic.atomic_file(tmp_path / "b.index") as file:
        file.write(b"whole")
        assert not left[0].exists()
        atomic.remove_leftovers([tmp_path])  # what another process would do at this moment
    assert [path.name for path in tmp_path.iterdir()] == ["b.index"]
    assert (tmp_path / "b.index").read_bytes() == b"whole"


def test_names_that_are_no_utf8_are_written_and_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    atomic.write_json(tmp_path / "a.json", {"where": name})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"where": name}
    assert identity.fingerprint([name]) != identity.fingerprint(["caf.png"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_the_file_and_the_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "a.json"
    atomic.write_bytes(path, b"before")

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        atomic.FullDiskError, match=r"a\.json can't be written: the disk .* run the same command again"
    ):
        atomic.write_bytes(path, b"after")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.json"]
