"""Clients of a running service, bounded in number, requests and time, and what it costs meanwhile."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from scripts.benches.memory import family, pss_kib

TICKS = os.sysconf("SC_CLK_TCK")
LONGEST_SECONDS = 600


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        asked: place of the body that was sent.
        status: of HTTP; 0 where the connection broke.
        seconds: from the request to the last byte of the answer.
        at: when it was complete, ``time.monotonic``.
        answer: the JSON; ``None`` without one.
    """

    asked: int
    status: int
    seconds: float
    at: float
    answer: dict[str, Any] | None


class Client:
    """One connection that is kept open, and opened anew when it breaks.

    Args:
        address: ``host:port``.
        token: sent along; none when empty.
    """

    def __init__(self, address: str, token: str = "") -> None:
        self._connection = http.client.HTTPConnection(address, timeout=LONGEST_SECONDS)
        self._headers = {"Content-Type": "image/jpeg"} | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, asked: int, body: bytes) -> Reply:
        """Ask about an image."""
        begun = time.monotonic()
        try:
            self._connection.request("POST", "/v1/query", body, self._headers)
            response = self._connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            now = time.monotonic()
            return Reply(asked, 0, now - begun, now, None)
        now = time.monotonic()
        return Reply(asked, status, now - begun, now, json.loads(content))


@dataclass
class Costs:
    """CPU time and memory of the processes of a service, looked at every half second.

    Attributes:
        pid: of the process that was started.
        cpu: core seconds of all, those that ended too.
        memory: (seconds since the start, MB of all, without files that are mapped) at every look.
    """

    pid: int
    cpu: float = 0.0
    memory: list[tuple[float, float]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._first = {pid: cpu_seconds(pid) for pid in family(self.pid)}
        self._last: dict[int, float] = {}
        self._begun, self._ended = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()
        self.cpu = sum(now - self._first.get(pid, 0.0) for pid, now in self._last.items())

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self._look()

    def _look(self) -> None:
        members = family(self.pid)
        self._last |= {pid: seconds for pid in members if (seconds := cpu_seconds(pid))}
        own = sum(pss_kib(pid, "Pss_Anon") for pid in members)
        self.memory.append((time.monotonic() - self._begun, own / 1024))


def cpu_seconds(pid: int) -> float:
    """Core seconds that a process has used, its ended children not among them; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(
    address: str, bodies: Sequence[bytes], *, token: str, clients: int, seconds: float, requests: int
) -> list[Reply]:
    """Ask about the bodies in turn, as fast as the service answers, until time or requests are used up.

    Args:
        address: ``host:port``, on loopback.
        bodies: image files.
        token: sent along.
        clients: connections, each of which waits for its answer before it asks again.
        seconds: at most.
        requests: at most.
    """
    until, counter = time.monotonic() + min(seconds, LONGEST_SECONDS), itertools.count()
    replies: list[Reply] = []

    def one() -> None:
        with Client(address, token) as client:
            while time.monotonic() < until and (number := next(counter)) < requests:
                reply = client.ask(number % len(bodies), bodies[number % len(bodies)])
                replies.append(reply)
                if reply.status in (0, 429):
                    time.sleep(0.2)

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies
