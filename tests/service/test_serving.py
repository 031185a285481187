from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="pip install 'active-indexing[service]' brings it")

from active_indexing.cli import main
from active_indexing.store.archive import Store
from tests.conftest import Toy
from tests.service.worlds import copy_of, filled
from tests.store.worlds import some, toy_release

ROOT = Path(__file__).parents[2]


class Running:
    """A started service.

    Attributes:
        process: the supervisor, or the one process.
        address: ``http://127.0.0.1:PORT``.
        lines: what it wrote to stderr so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.address = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.match(r"listening on (http://\S+)", line):
                self.address = found[1]

    def ask(self, content: bytes) -> dict[str, Any]:
        request = urllib.request.Request(self.address + "/v1/query", content, {"Content-Type": "image/png"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))

    def wait_until_healthy(self) -> None:
        until = time.monotonic() + 90
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if self.address:
                    urllib.request.urlopen(self.address + "/healthz", timeout=60).close()
                    return
            except urllib.error.URLError:
                pass
            time.sleep(0.05)
        raise AssertionError("".join(self.lines))


@contextmanager
def running(store: Path, *flags: str) -> Iterator[Running]:
    command = [sys.executable, "-m", "active_indexing", "serve", str(store), "--port", "0", *flags]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as process:
        try:
            service = Running(process)
            service.wait_until_healthy()
            yield service
        except BaseException:
            print("".join(service.lines), file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(60)


def workers_of(pid: int) -> list[int]:
    """Child processes that serve; Python's resource tracker is not one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


@pytest.mark.slow
def test_processes_share_a_store_and_one_that_is_killed_is_replaced(toy: Toy, tmp_path: Path) -> None:
    store = filled(toy, tmp_path / "store")
    kept = {
        path: path.stat().st_mtime_ns for path in store.rglob("*") if path.suffix not in ("", ".sqlite-shm")
    }
    known, new = copy_of(toy, 1), copy_of(toy, 20)
    with running(store, "--processes", "2") as service:
        assert service.ask(known)["verdict"] == "match"
        released = toy_release(toy, some(toy, tmp_path / "new", slice(20, 21)), store)
        assert released is not None
        answers = [service.ask(new) for _ in range(8)]
        assert {answer["best"]["name"] for answer in answers} == {"26.png"}, "every process knows it at once"
        assert "libtorch" not in Path(f"/proc/{service.process.pid}/maps").read_text(), "it only supervises"
        victims = workers_of(service.process.pid)
        assert len(victims) == 2
        os.kill(victims[0], signal.SIGKILL)
        until = time.monotonic() + 60
        while not (len(now := workers_of(service.process.pid)) == 2 and victims[0] not in now):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert service.ask(known)["verdict"] == "match"
        with Store.writing(store) as opened:
            opened.remove(int(answers[0]["best"]["id"]))
        assert {service.ask(new)["best"]["name"] for _ in range(8)}.isdisjoint({"26.png"})
        with urllib.request.urlopen(service.address + "/metrics") as answer:
            counted = re.findall(
                r'requests_total\{route="/v1/query",status="200"\} (\S+)', answer.read().decode()
            )
        assert [float(each) for each in counted] == [18.0], "counts of all processes, the killed one's too"
    assert service.process.returncode == 0
    assert all(
        path.stat().st_mtime_ns == when for path, when in kept.items() if path.parent == store / "contract"
    )
    for line in service.lines:
        assert line.startswith(("{", "listening on", "no tokens")), line


@pytest.mark.slow
def test_a_stop_finishes_what_is_in_hand(toy: Toy, tmp_path: Path) -> None:
    content = copy_of(toy, 1)
    with running(filled(toy, tmp_path / "store")) as service:
        host, port = service.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as line:
            head = f"POST /v1/query HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\n"
            line.sendall(f"{head}Content-Length: {len(content)}\r\nExpect: 100-continue\r\n\r\n".encode())
            assert b"100 Continue" in line.recv(1000), "the service waits for the image"
            service.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((host, int(port)), timeout=60)
            line.sendall(content)
            answer = b"".join(iter(lambda: line.recv(10_000), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"verdict":"match"' in answer
        assert service.process.wait(60) == 0


def test_what_can_not_be_served_is_said_in_a_sentence(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = filled(toy, tmp_path / "store")
    assert main.main(["serve", str(store), "--host", "0.0.0.0"]) == 2
    assert f"make one first: active-indexing token {store} add NAME" in capsys.readouterr().err
    assert main.main(["serve", str(tmp_path / "none"), "--port", "0"]) == 2
    assert "error: " in capsys.readouterr().err
    assert main.main(["serve", str(tmp_path / "none"), "--port", "0", "--processes", "2"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: no store ")
    (store / "tokens.json").write_text("{")
    assert main.main(["serve", str(store)]) == 2
    assert "is no file of tokens" in capsys.readouterr().err
