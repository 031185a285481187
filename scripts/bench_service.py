"""How much a service answers, and what it does when things go wrong.

    python scripts/bench_service.py --photos PHOTOS --images 100000

A store is filled with made-up vectors and the photos, released as they are. `active-indexing serve` is
started on it, and asked about edited copies of the photos over loopback, as fast as it answers, for a minute.
Every answer is compared with that of `query`. The exact work of a request is what decoding, describing,
searching and judging cost on one core without a service around it: CPU time, which other programs on the
machine do not change much; time on the wall they do, so the load average is told. Then the faults: a process
is killed under load, clients send a byte a second, broken images come by the thousand, tokens are wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from active_indexing.artefacts.atomic import write_json
from active_indexing.cli.interrupts import run_program
from active_indexing.config import configure
from active_indexing.images.any_image import srgb_of
from active_indexing.images.listing import find_images
from active_indexing.query.answers import Answer
from active_indexing.query.lookup import Lookup
from active_indexing.service.tokens import READ, add_token
from active_indexing.store_run import release
from scripts.bench_store import fill
from scripts.benches import faults
from scripts.benches.load import Costs, Reply, load

CLOSE = 1e-4
"""Of squared distances: views described in one batch or in another differ in the last bits."""

WARM_SECONDS, KILL_SECONDS, SLOW_SECONDS, LAST_SECONDS = 5.0, 30.0, 20.0, 5.0
SLOW_CLIENTS = 64
WRONG_TOKENS = 1000
"""Requests of either kind."""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    built = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    built.add_argument("--photos", type=Path, required=True, help="released, and asked about")
    built.add_argument("--images", type=int, default=100_000, help="in the store (default: %(default)s)")
    built.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a core")
    built.add_argument("--clients", type=int, default=8, help="connections at once (default: %(default)s)")
    built.add_argument("--seconds", type=float, default=60, help="of the load (default: %(default)s)")
    built.add_argument("--broken", type=int, default=10_000, help="broken uploads (default: %(default)s)")
    built.add_argument("--output", type=Path, default=Path("bench_service.json"), help="default: %(default)s")
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    arguments = parser().parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        release(
            configure(data_dir=arguments.photos, output_dir=store, active=False, verbose=0),
            store,
            frozen=False,
        )
        fill(store, arguments.images)
        bodies = copies(arguments.photos)
        expected, work = answers_of_query(store, bodies)
        token = add_token(store / "tokens.json", "bench", READ)
        with running(store, arguments.processes) as (pid, address):
            bench = Bench(pid, address, token, bodies, expected, arguments.clients)
            named = ("images", "processes", "clients")
            figures = {name: getattr(arguments, name) for name in named} | {"distinct queries": len(bodies)}
            figures |= bench.saturated(arguments.seconds, work)
            write_json(arguments.output, figures)
            figures["faults"] = bench.faults(arguments.broken, arguments.processes)
    write_json(arguments.output, figures)
    print(json.dumps(figures, indent=1))
    return 0


def copies(photos: Path) -> list[bytes]:
    """Edited copies: smaller, cropped, darker, recompressed; about 50 kB each."""
    bodies = []
    for number, path in enumerate(find_images(photos)):
        photo = Image.fromarray(srgb_of(path)[0])
        width, height = photo.size
        edited = (
            photo.resize((width * 2 // 3, height * 2 // 3)),
            photo.crop((width // 8, height // 8, width * 7 // 8, height * 7 // 8)),
            photo.point(lambda value: int(0.7 * value)),
        )[number % 3]
        content = io.BytesIO()
        edited.save(content, "JPEG", quality=60)
        bodies.append(content.getvalue())
    return bodies


def answers_of_query(store: Path, bodies: Sequence[bytes]) -> tuple[list[Answer], float]:
    """What ``query`` says, and the CPU seconds of one answer (mean)."""
    with Lookup(store) as lookup:
        lookup.ask(bodies[0])  # the first one is slow
        begun = time.process_time()
        answers = [lookup.ask(body) for body in bodies]
        return answers, (time.process_time() - begun) / len(bodies)


@contextmanager
def running(store: Path, processes: int) -> Iterator[tuple[int, str]]:
    """The service: process id and ``host:port``."""
    command = [sys.executable, "-m", "active_indexing", "serve", str(store), "--port", "0"]
    command += ["--processes", str(processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (
        (store.parent / "log").open("w+") as log,
        subprocess.Popen(command, stderr=log, env=environment) as service,
    ):
        try:
            yield service.pid, _listening(store.parent / "log", service, processes)
        finally:
            service.terminate()


def _listening(log: Path, service: subprocess.Popen[bytes], processes: int) -> str:
    for _ in range(1200):
        text = log.read_text()
        found = re.search(r"listening on http://(\S+)", text)
        if found and text.count("Application startup complete") >= processes:
            return found[1]
        if service.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start: {log.read_text()}")


@dataclass(frozen=True, eq=False)
class Bench:
    """A running service and what it should answer."""

    pid: int
    address: str
    token: str
    bodies: Sequence[bytes]
    expected: Sequence[Answer]
    clients: int

    def ask(self, seconds: float) -> list[Reply]:
        """Load it for so long."""
        return load(
            self.address,
            self.bodies,
            token=self.token,
            clients=self.clients,
            seconds=seconds,
            requests=1_000_000,
        )

    def wrong(self, replies: Sequence[Reply]) -> int:
        """Answers that are not those of ``query``."""
        return sum(
            not _same(each.answer, self.expected[each.asked]) for each in replies if each.status == 200
        )

    def saturated(self, seconds: float, work: float) -> dict[str, Any]:
        """Figures of a load that leaves no core idle.

        Args:
            seconds: that it lasts.
            work: CPU seconds of one answer without a service.
        """
        self.ask(WARM_SECONDS)
        begun = time.monotonic()
        with Costs(self.pid) as costs:
            replies = self.ask(seconds)
        wall = time.monotonic() - begun
        served = [each.seconds for each in replies if each.status == 200]
        cores = len(os.sched_getaffinity(0))
        p50, p95, p99 = (1000 * float(np.quantile(served, q)) for q in (0.5, 0.95, 0.99))
        settled = [megabytes for at, megabytes in costs.memory if at > wall / 4]
        return {
            "seconds": wall, "load average": os.getloadavg()[0], "answers": faults.statuses(replies),
            "wrong": self.wrong(replies), "requests a second": len(served) / wall,
            "p50 ms": p50, "p95 ms": p95, "p99 ms": p99,
            "CPU ms of a request": 1000 * costs.cpu / len(served), "of them exact work": 1000 * work,
            "exact work / CPU of the service": work * len(served) / costs.cpu,
            "CPU of the service / (wall x cores)": costs.cpu / (wall * cores),
            "exact work / (wall x cores)": work * len(served) / (wall * cores),
            "MB at a quarter": settled[0], "MB at the end": settled[-1], "MB at most": max(settled),
        }  # fmt: skip

    def faults(self, broken: int, processes: int) -> dict[str, Any]:
        """What goes wrong, and in the end whether all is well."""
        told: dict[str, Any] = {}
        if processes > 1:
            told["a process killed"] = faults.killed(self.pid, self.ask, self.wrong, KILL_SECONDS)
        trickle = partial(faults.slow, self.address, self.token, self.ask, self.wrong)
        told["slow clients"] = trickle(SLOW_SECONDS, SLOW_CLIENTS)
        send = partial(faults.broken, self.pid, self.address, self.token, self.bodies)
        told["broken uploads"] = send(broken, self.clients)
        told["tokens"] = faults.wrong_tokens(self.address, self.bodies, WRONG_TOKENS, self.clients)
        replies = self.ask(LAST_SECONDS)
        told["in the end"] = {"answers": faults.statuses(replies), "wrong": self.wrong(replies)}
        return told


def _same(told: dict[str, Any] | None, expected: Answer) -> bool:
    if (
        told is None
        or told["verdict"] != expected.verdict
        or (told["best"] is None) != (expected.best is None)
    ):
        return False
    if expected.best is None:
        return True
    best = told["best"]
    return best["id"] == str(expected.best.id) and abs(best["distance"] - expected.best.distance) < CLOSE


if __name__ == "__main__":
    run_program(main)
