"""A run killed anywhere ends, given again, in the files of one that nobody disturbed."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from active_indexing.artefacts import atomic
from active_indexing.cli import main
from tests.conftest import Toy
from tests.runs import flags, released, settings_of, tables, take_images
from tests.tracing import available, traced

SEED = 0
IN_THE_SUITE = 6
EXHAUSTIVE = 150
EACH_PROCESS = 8
STAGES = ("release", "passive", "retrieval", "copy_detection")
Files = tuple[dict[str, str], dict[str, bytes], dict[str, bytes]]


class World:
    """One run, whose output folder and index folder lie in a folder of their own."""

    def __init__(self, toy: Toy, root: Path) -> None:
        self.root = root
        photos = take_images(toy, root / "photos", 2)
        self.place = root / "place"
        settings = settings_of(toy, self.place / "indexes", idx_factory="IVF4,Flat", entries=2)
        self.settings: dict[str, Any] = settings | {"data_dir": photos, "output_dir": self.place / "out"}
        self.command = ["run", *flags(self.settings)]

    def run(self, **more: object) -> None:
        """In this process, which a test has forked."""
        atomic._swept.clear()  # a program that starts has looked for leftovers nowhere
        assert main.main([*self.command, *flags(more)]) == 0

    def fresh(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()

    def files(self) -> Files:
        """What a run must leave, and that nothing temporary is left."""
        every = [path for path in self.place.rglob("*") if path.is_file()]
        assert [path.name for path in every if path.name.startswith(".writing-")] == []
        indexes = {path.name: path.read_bytes() for path in (self.place / "indexes").iterdir()}
        return tables(self.place / "out"), released(self.place / "out"), indexes


@pytest.fixture(scope="module")
def world(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(toy, tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def undisturbed(world: World) -> Files:
    world.fresh()
    world.run()  # in this process, so that its children need not import anything
    return world.files()


def in_a_process(function: Callable[[], object], output: Path = Path(os.devnull)) -> int:
    """Run a function in a child whose messages go to a file; gives its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(function, output), 0)[1])


def forked(function: Callable[[], object], output: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        status = int(function() or 0)
    finally:
        os._exit(status)


def check(world: World, undisturbed: Files) -> None:
    """The same command completes the work of the one that was killed."""
    assert in_a_process(world.run) == 0
    assert world.files() == undisturbed


def killed_at(world: World, at: int | None, mode: str) -> int:
    world.fresh()
    return traced(lambda _: world.run(verbose=0), world.place, at, mode).calls


def kill_at_calls(world: World, undisturbed: Files, count: int) -> None:
    calls = killed_at(world, None, "kill")
    assert world.files() == undisturbed
    assert calls > 100
    points = [(at, mode) for at in range(1, calls) for mode in ("kill", "torn")]
    for at, mode in random.Random(SEED).sample(points, count):
        print(mode, at, "of", calls)  # which point it was, should it fail
        killed_at(world, at, mode)
        check(world, undisturbed)


traceable = pytest.mark.skipif(not available(), reason="processes can't be traced here")


@traceable
def test_killed_at_a_sample_of_system_calls_it_ends_like_an_undisturbed_run(
    world: World, undisturbed: Files
) -> None:
    kill_at_calls(world, undisturbed, IN_THE_SUITE)


@traceable
@pytest.mark.exhaustive
def test_killed_at_150_system_calls_it_ends_like_an_undisturbed_run(world: World, undisturbed: Files) -> None:
    kill_at_calls(world, undisturbed, EXHAUSTIVE)


# With worker processes, in a program of its own


def parents() -> dict[int, int]:
    """Every process that lives, and its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, *_ = stat.read_text().rsplit(")", 1)[1].split()
            if state != "Z":
                found[int(stat.parent.name)] = int(parent)
    return found


def victims(program: int, who: str) -> list[int]:
    """Processes to kill: the program, its group, the server that starts its workers, or a worker."""
    if who in ("program", "group"):
        return [program]
    lives = parents()
    servers = [pid for pid, parent in lives.items() if parent == program and "forkserver" in command_of(pid)]
    return servers if who == "server" else [pid for pid, parent in lives.items() if parent in servers]


def command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def lines_of_journals(world: World) -> int:
    paths = [world.place / "out" / ".journal" / f"{stage}.jsonl" for stage in STAGES]
    return sum(path.read_bytes().count(b"\n") for path in paths if path.exists())


def killed_after(world: World, who: str, lines: int, wait: float) -> tuple[int, str]:
    """Start the program, and kill some of it when its journals have so many lines; its code and messages."""
    command = [sys.executable, "-m", "active_indexing", *world.command, *flags({"workers": 2})]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as program:
        deadline = time.monotonic() + 300
        while program.poll() is None and lines_of_journals(world) < lines:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(0 if who == "worker" else wait)  # workers of so few images live for a moment
        while not (found := victims(program.pid, who)) and program.poll() is None:
            time.sleep(0.001)
        for pid in found[:1]:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.killpg(pid, signal.SIGKILL) if who == "group" else os.kill(pid, signal.SIGKILL)
        told = program.communicate(timeout=300)[0]
    return program.returncode, told


@pytest.mark.exhaustive
@pytest.mark.parametrize("who", ["program", "group", "server", "worker"])
def test_whatever_process_of_it_is_killed_it_ends_like_an_undisturbed_run(
    world: World, undisturbed: Files, who: str
) -> None:
    rng = random.Random(SEED)
    codes = set()
    for _ in range(EACH_PROCESS):
        lines, wait = rng.randint(1, 8), rng.random() / 10
        print(who, lines, wait)
        world.fresh()
        code, told = killed_after(world, who, lines, wait)
        print(code, told)
        assert "Traceback" not in told
        if code == 2:
            assert re.match("error: (a worker|the server that starts workers) died", told.splitlines()[-1])
        codes.add(code)
        deadline = time.monotonic() + 30
        while someone_works_in(world.place):
            assert time.monotonic() < deadline, "a process was left behind"
            time.sleep(0.01)
        check(world, undisturbed)
    killed = -signal.SIGKILL if who in ("program", "group") else 2
    assert killed in codes <= {killed, 0}  # 0: it was done, or needed that process no more


def someone_works_in(place: Path) -> bool:
    return any(str(place) in command_of(pid) for pid in parents() if pid != os.getpid())
