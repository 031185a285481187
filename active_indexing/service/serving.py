"""Processes that listen on one address and answer from one store, until they are told to stop."""

from __future__ import annotations

import logging.config
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors.multiprocess import Multiprocess

from active_indexing.service.config import ServiceConfig
from active_indexing.service.guard import LOGGING
from active_indexing.service.metrics import SHARED
from active_indexing.service.tokens import TokenFile

GRACE_SECONDS = 30
"""Requests in hand have so long to end when the service is told to stop."""

HUNG_SECONDS = 20
"""A process that does not answer its supervisor for so long is replaced. One that dies while it is asked is
noticed only then; one that loads torch on a busy machine holds the interpreter for seconds."""


@dataclass(frozen=True)
class AppMaker:
    """What a process needs to make its application; travels to it as a pickle of settings.

    Unpickling it loads nothing heavy, so that a new process answers its supervisor before it loads torch.

    Attributes:
        store: its folder.
        service: limits and names.
        query: fields of ``QueryConfig``.
        device: name of the device where the descriptor runs; ``None`` is a GPU when there is one.
    """

    store: Path
    service: ServiceConfig
    query: dict[str, Any]
    device: str | None = None

    def __call__(self) -> Any:
        """The application on the opened store."""
        from active_indexing.parallel.resources import device_for
        from active_indexing.query.lookup import QueryConfig
        from active_indexing.service.app import create_app
        from active_indexing.service.engine import Engine

        engine = Engine(self.store, self.service, QueryConfig(**self.query), device_for(self.device))
        return create_app(engine, self.service, TokenFile(self.service.tokens_path(self.store)))


def serve(maker: AppMaker) -> None:
    """Answer until SIGTERM or SIGINT; requests in hand are finished.

    Raises:
        ValueError: an address that can't be used, or one that others reach and no token.
        FileNotFoundError: no store there.
        StoreError: a store that can't be used.
    """
    service = maker.service
    tokens = TokenFile(service.tokens_path(maker.store)).tokens()
    if not service.is_local and not tokens:
        raise ValueError(
            f"--host {service.host} can be reached by others, and there is no token; make one first: "
            f"active-indexing token {maker.store} add NAME"
        )
    logging.config.dictConfig(LOGGING)
    with _bound(service) as listening, _stopped_quietly():
        host, port = listening.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        print(f"listening on http://{name}:{port}", file=sys.stderr, flush=True)
        if not tokens:
            print("no tokens: everybody on this machine may ask", file=sys.stderr, flush=True)
        if service.processes == 1:
            uvicorn.Server(_config(maker(), service)).run([listening])
        else:
            _several(maker, listening)


def _several(maker: AppMaker, listening: socket.socket) -> None:
    """A supervisor that starts a process anew when one dies."""
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # the supervisor needs no torch: 540 MB
        apart.submit(_tried, maker).result()  # a store that can't be used is told here, in one sentence
    with tempfile.TemporaryDirectory(prefix="active-indexing-metrics-") as folder:
        os.environ[SHARED] = folder  # counts only
        os.environ.setdefault("OMP_NUM_THREADS", _cores_each(maker.service.processes))
        try:
            Multiprocess(_config(maker, maker.service), [listening]).run()
        finally:
            del os.environ[SHARED]


def _tried(maker: AppMaker) -> None:
    """Open the store and close it again."""
    maker().state.engine.close()


def _cores_each(processes: int) -> str:
    return str(max(1, len(os.sched_getaffinity(0)) // processes))


def _config(app: Any, service: ServiceConfig) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, AppMaker),
        workers=service.processes,
        log_config=LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here looks at the address of a client
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=HUNG_SECONDS,
    )


@contextmanager
def _bound(service: ServiceConfig) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in service.host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((service.host, service.port))
        except OSError as error:
            told = f"--host {service.host} --port {service.port} can't be listened on: {error.strerror}."
            raise ValueError(told) from error
        listening.listen(2048)
        listening.set_inheritable(True)
        yield listening


@contextmanager
def _stopped_quietly() -> Iterator[None]:
    """Uvicorn sends itself the signal again when it has stopped; it has been obeyed by then."""
    before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
