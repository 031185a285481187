"""Killed at every system call that changes a file: no promise is lost, nothing appears that never was."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from active_indexing.artefacts.atomic import write_bytes
from active_indexing.images.inventory import id_of_sha256
from active_indexing.records import ManifestRow, SourceImage
from active_indexing.release.image import Released
from active_indexing.release.into_store import release_into_store
from active_indexing.store import cache
from active_indexing.store.archive import Store
from active_indexing.store.rows import RELEASED, REMOVED
from active_indexing.store.verify import verify
from tests.store.made_up import DIM, make_store
from tests.tracing import MODES, available, traced

pytestmark = pytest.mark.skipif(not available(), reason="processes can't be traced here")
IMAGES = 3
Tell = Callable[[str], None]


class CopyingReleaser:
    """Releases the input's own bytes, as the passive arm would, without a network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def release(self, source: SourceImage, names: list[str], *_: object) -> Released:
        write_bytes(self._folder / names[0], source.path.read_bytes())
        row = ManifestRow(
            source.id, str(source.path), f"released/{names[0]}", "released", "", 8, 8, 42.0, 0.99, 2, 0, 0
        )
        return Released(row, described(source.path.read_bytes())[None])


def described(content: bytes) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(content).digest()[:4], "big")
    vector = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def release(store: Path, sources: list[SourceImage], tell: Tell) -> None:
    """What `active-indexing release` does, with a promise for every row that was written."""
    make_store(store)
    tell("made")
    with Store.writing(store) as opened:
        written = opened.append

        def append(run: int, images: list) -> None:
            written(run, images)
            tell(f"released {images[0].id}")

        opened.append = append  # type: ignore[method-assign]
        release_into_store(
            opened, sources, CopyingReleaser(store / "released"), lambda srgb: described(srgb.tobytes()),
            save_format="png", settings={}, threads=1, progress=False,
        )  # fmt: skip
        opened.save_cache()


def remove(store: Path, image: int, tell: Tell) -> None:
    with Store.writing(store) as opened:
        opened.remove(image)
        tell(f"removed {image}")
        opened.save_cache()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[SourceImage]:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    found = []
    for n in range(IMAGES + 1):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{n}.png")
        found.append(SourceImage(n, folder / f"{n}.png", f"{n}.png"))
    return found


def ids_of(sources: list[SourceImage]) -> set[int]:
    return {id_of_sha256(hashlib.sha256(source.path.read_bytes()).hexdigest()) for source in sources}


class Scenario:
    """One command, on a store that earlier commands left, and what must hold whenever it is killed."""

    def __init__(
        self, name: str, before: list[SourceImage], during: list[SourceImage], removes: bool
    ) -> None:
        self.name, self.before, self.during, self.removes = name, before, during, removes
        self.target = min(ids_of(before)) if removes else None

    def prepare(self, store: Path) -> None:
        if self.before:
            release(store, self.before, lambda _: None)

    def run(self, store: Path, tell: Tell) -> None:
        if self.target is not None:
            remove(store, self.target, tell)
        else:
            release(store, self.during, tell)

    def check(self, store: Path, told: tuple[str, ...]) -> None:
        """Promises hold, the same command completes the work, and all is well afterwards."""
        promised = {int(line.split()[1]) for line in told if line.startswith("released")}
        if "made" in told or self.before:
            with Store(store) as opened:
                rows = {row.id: row for row in opened.database.rows()}
                gone = {row.id for row in opened.database.rows(REMOVED)}
                assert promised <= rows.keys(), "a promise was lost"
                assert rows.keys() | gone <= ids_of(self.before + self.during), "a phantom"
                assert ids_of(self.before) <= rows.keys() | gone, "an older image was lost"
                assert gone <= {self.target}
                if f"removed {self.target}" in told:
                    assert gone == {self.target}, "a removed image is back"
                hashes = [row.released_sha256 for row in rows.values()]
                assert len(set(hashes)) == len(hashes), "a duplicate"
                assert [
                    each.how for each in verify(opened, record=False).damage if "put" in each.remedy
                ] == []
                index, _, _ = cache.load(store, opened.database, opened.codec)
                assert index.ntotal <= len(self.before + self.during)
        self.run(store, lambda _: None)
        with Store(store, writable=True) as opened:
            expected = ids_of(self.before + self.during) - {self.target}
            assert {row.id for row in opened.database.rows()} == expected
            assert opened.database.counts().get(RELEASED) == len(expected)
            assert verify(opened).damage == []


@pytest.fixture(scope="module")
def scenarios(sources: list[SourceImage]) -> list[Scenario]:
    return [
        Scenario("first release", [], sources[:IMAGES], removes=False),
        Scenario("second release", sources[:2], sources[2:], removes=False),
        Scenario("removal", sources[:IMAGES], [], removes=True),
    ]


def in_a_process(function: Callable[[], None]) -> None:
    """Run a check where nothing of the killed process, nor of earlier checks, is in memory."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:  # noqa: BLE001 - told to the parent by the exit code
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0, "the check failed in its own process; its output is above"


def killed(scenario: Scenario, prepared: Path, folder: Path, at: int | None, mode: str) -> int:
    """Run a scenario to its kill, and check it; gives the number of calls."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(prepared, folder) if prepared.exists() else folder.mkdir(parents=True)
    trace = traced(lambda tell: scenario.run(folder, tell), folder, at, mode)
    # Threads may need a call less than the time before, so the last points may lie beyond the end.
    assert not trace.finished or at is None or trace.calls < at
    in_a_process(lambda: scenario.check(folder, trace.told))
    return trace.calls


def prepared(scenario: Scenario, folder: Path) -> Path:
    path = folder / f"prepared {scenario.name}"
    if scenario.before and not path.exists():
        in_a_process(lambda: scenario.prepare(path))
    return path


def points(scenarios: list[Scenario], folder: Path) -> Iterator[tuple[Scenario, Path, int, str]]:
    for scenario in scenarios:
        before = prepared(scenario, folder)
        calls = killed(scenario, before, folder / "whole", None, "kill")
        assert calls > 20
        for mode in MODES:
            for at in range(1, calls + 1):
                yield scenario, before, at, mode


def test_killed_at_a_sample_of_its_points_a_store_keeps_every_promise(
    scenarios: list[Scenario], tmp_path: Path
) -> None:
    every = list(points(scenarios, tmp_path))
    for scenario, before, at, mode in random.Random(time.time_ns()).sample(every, 14):
        print(scenario.name, at, mode)  # which point it was, should it fail
        killed(scenario, before, tmp_path / "store", at, mode)


@pytest.mark.exhaustive
def test_killed_at_every_point_a_store_keeps_every_promise(scenarios: list[Scenario], tmp_path: Path) -> None:
    done = 0
    for scenario, before, at, mode in points(scenarios, tmp_path):
        print(scenario.name, at, mode)
        killed(scenario, before, tmp_path / "store", at, mode)
        done += 1
    print(f"{done} points")
    assert done >= 1000


@pytest.mark.exhaustive
def test_killed_at_two_hundred_random_times_a_store_keeps_every_promise(
    scenarios: list[Scenario], tmp_path: Path
) -> None:
    rng = random.Random(0)
    for _ in range(200):
        scenario, seconds = rng.choice(scenarios), rng.uniform(0, 0.12)
        print(scenario.name, seconds)
        _killed_after(seconds, scenario, prepared(scenario, tmp_path), tmp_path / "store")


def _killed_after(seconds: float, scenario: Scenario, before: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder) if before.exists() else folder.mkdir()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        scenario.run(folder, lambda line: os.write(write, f"{line}\n".encode()) and None)
        os._exit(0)
    os.close(write)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as pipe:
        told = tuple(pipe.read().decode().splitlines())
    in_a_process(lambda: scenario.check(folder, told))
