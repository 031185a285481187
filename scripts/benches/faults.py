"""What goes wrong around a service: killed processes, slow clients, broken uploads, wrong tokens."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.benches.load import Costs, Reply, load
from scripts.benches.memory import family

Wrong = Callable[[Sequence[Reply]], int]
"""How many answers of status 200 are not those of ``query``."""


def statuses(replies: Sequence[Reply]) -> dict[str, int]:
    """Number of replies by status, 0 for a broken connection."""
    return {str(status): count for status, count in sorted(Counter(each.status for each in replies).items())}


def workers(pid: int) -> list[int]:
    """Processes that answer, where there are several."""
    return [each for each in family(pid)[1:] if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def killed(pid: int, ask: Callable[[float], list[Reply]], wrong: Wrong, seconds: float) -> dict[str, Any]:
    """Kill one of the processes that answer, in the middle of the load."""
    victim = workers(pid)[0]
    timer = threading.Timer(seconds / 3, os.kill, (victim, signal.SIGKILL))
    begun = time.monotonic()
    timer.start()
    replies = ask(seconds)
    until = time.monotonic() + 60
    while len(workers(pid)) < 2 and time.monotonic() < until:
        time.sleep(0.2)
    alive = workers(pid)
    late = [each for each in replies if each.status == 200 and each.at > begun + seconds / 3]
    return {
        "answers": statuses(replies), "wrong": wrong(replies), "answered after the kill": len(late),
        "processes in the end": len(alive), "replaced": victim not in alive,
    }  # fmt: skip


def slow(address: str, token: str, ask: Callable[[float], list[Reply]], wrong: Wrong, seconds: float,
         clients: int) -> dict[str, Any]:  # fmt: skip
    """Clients that send a byte a second, beside those that are served."""
    host, port = address.split(":")
    head = (
        f"POST /v1/query HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    ended = threading.Event()
    lines = [socket.create_connection((host, int(port)), timeout=60) for _ in range(clients)]

    def trickle() -> None:
        while not ended.wait(1):
            for line in lines:
                try:
                    line.sendall(b"\xff")
                except OSError:
                    pass  # it was cut off, as it should be

    for line in lines:
        line.sendall(head.encode())
    thread = threading.Thread(target=trickle)
    thread.start()
    replies = ask(seconds)
    ended.set()
    thread.join()
    for line in lines:
        line.close()
    return {"slow clients": clients, "answers": statuses(replies), "wrong": wrong(replies)}


def broken_bodies(bodies: Sequence[bytes]) -> list[bytes]:
    """Files that are no whole images: cut off, with noise after the beginning, and noise alone."""
    rng = np.random.default_rng(0)
    made = [b"\xff", b"GIF89a", rng.bytes(5000), b"\x89PNG\r\n\x1a\n" + rng.bytes(3000)]
    for body in bodies[:16]:
        made += [body[: len(body) // 3], body[: len(body) - 200], body[:300] + rng.bytes(2000)]
    return made


def broken(
    pid: int, address: str, token: str, bodies: Sequence[bytes], requests: int, clients: int
) -> dict[str, Any]:
    """Send broken uploads; all must be refused, and nothing may stay in memory."""
    told: dict[str, Any] = {}
    made = broken_bodies(bodies)
    load(address, made, token=token, clients=clients, seconds=60, requests=len(made))  # what grows once
    with Costs(pid) as costs:
        replies = load(address, made, token=token, clients=clients, seconds=500, requests=requests)
    told |= {"uploads": len(replies), "answers": statuses(replies)}
    told |= {"MB before": costs.memory[0][1], "MB after": costs.memory[-1][1]}
    return told


def wrong_tokens(address: str, bodies: Sequence[bytes], requests: int, clients: int) -> dict[str, Any]:
    """Ask without a token and with one that is unknown."""
    told = {}
    for name, token in (("no token", ""), ("an unknown token", "aix_" + "x" * 43)):
        replies = load(address, bodies, token=token, clients=clients, seconds=60, requests=requests)
        told[name] = statuses(replies)
    return told
