"""What a run did, and when: one JSON line an event, those of a resumed run after those of the one before.

Events go through ``logging``, logger ``active_indexing.run``, level INFO, so that a program that starts runs
can listen with a handler of its own; a record has the event as ``run_event``, a dictionary.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from active_indexing.artefacts.journal import drop_torn_line

RUN_LOG = "run_log.jsonl"

_logger = logging.getLogger("active_indexing.run")


def note(event: str, **details: Any) -> None:
    """Tell an event of the run that is going on; outside of one nobody listens.

    Args:
        event: ``run_started``, ``stage_started``, ``image``, ``warning`` ...
        **details: JSON-serialisable, or something whose text says enough; durations are ``seconds``.
    """
    if _logger.isEnabledFor(logging.INFO):
        told = " ".join(f"{name}={value}" for name, value in details.items())
        _logger.info("%s %s", event, told, extra={"run_event": {"event": event, **details}})


class RunLog(logging.Handler):
    """The log of one run, as a context manager; warnings are told too.

    What happens before ``to`` waits in memory, as nothing is written before the output folder is taken. A
    line is one write: a killed process leaves whole lines, or a torn last one, which the next run drops. The
    disk is waited for at the end of a stage only, as the journals keep what must not be lost.

    Attributes:
        counts: for the last line; the run fills it.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.counts: dict[str, Any] = {}
        self._waiting: list[bytes] = []
        self._file: BinaryIO | None = None
        self._began = time.monotonic()

    def __enter__(self) -> RunLog:
        self._level, self._shown = _logger.level, warnings.showwarning
        _logger.setLevel(logging.INFO)
        _logger.addHandler(self)
        warnings.showwarning = self._warned
        return self

    def __exit__(self, *_: object) -> None:
        warnings.showwarning = self._shown
        _logger.removeHandler(self)
        _logger.setLevel(self._level)
        self.close()

    @contextmanager
    def to(self, path: Path) -> Iterator[None]:
        """Append to this file inside the block, and say at its end how it ended.

        Args:
            path: the file; the caller holds its folder, so that no other run writes to it.
        """
        with open(path, "a+b", buffering=0) as self._file:
            drop_torn_line(self._file)
            self._file.write(b"".join(self._waiting))
            try:
                yield
            except BaseException as error:
                with suppress(OSError):  # a full disk, say, which may be what ended it
                    self._ended(**_status(error))
                raise
            else:
                self._ended(status="finished")
            finally:
                self._file, self._waiting = None, []

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a full disk ends the run, which cannot go on either."""
        event: dict[str, Any] | None = getattr(record, "run_event", None)
        if event is None:
            return
        now = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        text = json.dumps({"time": now, **event}, default=str, ensure_ascii=False) + "\n"
        line = text.encode(errors="backslashreplace")  # bytes of a file name that are no UTF-8
        if self._file is None:
            self._waiting.append(line)
            return
        self._file.write(line)
        if event["event"] in ("stage_ended", "run_ended"):
            os.fsync(self._file.fileno())

    def _ended(self, **status: str) -> None:
        note("run_ended", **status, seconds=round(time.monotonic() - self._began, 3), **self.counts)

    def _warned(self, message: Warning | str, *arguments: Any, **named: Any) -> None:
        note("warning", message=str(message))
        self._shown(message, *arguments, **named)


def _status(error: BaseException) -> dict[str, str]:
    if isinstance(error, KeyboardInterrupt):
        return {"status": "interrupted"}
    return {"status": "failed", "error": f"{type(error).__name__}: {error}"}


class Stages:
    """Seconds of each stage, told to the log as they begin and end.

    Args:
        first: the stage that begins now.

    Attributes:
        laps: stage to seconds, of those that have ended.
    """

    def __init__(self, first: str) -> None:
        self.laps: dict[str, float] = {}
        self._begin(first)

    def next(self, name: str) -> None:
        """End the stage and begin another."""
        self.end()
        self._begin(name)

    def end(self) -> None:
        """End the stage."""
        self.laps[self._name] = round(time.perf_counter() - self._began, 3)
        note("stage_ended", stage=self._name, seconds=self.laps[self._name])

    def _begin(self, name: str) -> None:
        self._name, self._began = name, time.perf_counter()
        note("stage_started", stage=name)
