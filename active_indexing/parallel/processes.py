"""Work in other processes: results in the order of the jobs, the same for any number of workers.

Each worker hangs on its own pipe. A worker that dies closes it, even in the middle of a message, so the pool
notices at once. When the main process dies, however it does, the workers find their pipes closed and leave.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from types import ModuleType, TracebackType
from typing import Any, Generic, TypeVar

import torch

from active_indexing.parallel.threads import one_core_per_operation

# Jobs handed out but not yet consumed, per worker: one to work on and one ready, so that workers do not wait
# while the caller uses a result. Memory is bounded by this, not by the number of jobs.
JOBS_PER_WORKER = 2

_DEATH_TIMEOUT = 10.0  # seconds in which the exit code of a dead worker must be known
_start_lock = threading.Lock()
_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def preload_workers(modules: Sequence[str]) -> None:
    """Let the fork server load modules in the background, which takes it seconds.

    Args:
        modules: imported once, so that a worker starts in milliseconds instead of seconds; the first call of
            this process decides.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
    with _main_module_hidden():
        # Ctrl-C reaches every process of a terminal. The fork server ignores it once it serves; while it
        # imports the modules it would print a traceback. What is blocked here stays blocked there.
        resource_tracker.ensure_running()  # unblocks SIGINT when it starts
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ProcessPool(Generic[_Job, _Result]):
    """Worker processes that do one kind of job, as a context manager.

    Args:
        perform: does a job; a function of a module, so that it can be pickled. ``str`` of a job names it in
            errors.
        workers: number of processes; 0 does the work in this process, with the same results.
        preload: modules that the workers need, see :func:`preload_workers`.
        jobs_per_worker: handed out but not yet consumed, 1 or more; bounds memory.

    Raises:
        ValueError: if ``workers`` is negative.
    """

    def __init__(
        self,
        perform: Callable[[_Job], _Result],
        workers: int,
        *,
        preload: Sequence[str] = (),
        jobs_per_worker: int = JOBS_PER_WORKER,
    ) -> None:
        if workers < 0:
            raise ValueError(f"workers must be 0 (this process) or more, got {workers}")
        self.workers = workers
        self._perform = perform
        self._preload = preload
        self._window = jobs_per_worker * workers
        self._started: list[_Worker] = []
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> ProcessPool[_Job, _Result]:
        """Start the workers."""
        # One thread per worker waits for its answer, and takes large results off the pipe while the caller
        # is busy.
        self._threads = ThreadPoolExecutor(max(1, self.workers), thread_name_prefix="workers")
        try:
            for _ in range(self.workers):
                self._started.append(_start_worker(self._perform, self._preload))
                self._idle.put(self._started[-1])
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the workers, at once if they are still at work."""
        self._close()

    def run(self, jobs: Iterable[_Job]) -> Iterator[_Result]:
        """Do every job.

        Args:
            jobs: taken from the iterable only as they are needed.

        Yields:
            One result per job, in the order of the jobs.

        Raises:
            ChildProcessError: if a worker died; the run can be given again and goes on.
            RuntimeError: if the program failed inside a worker; the message holds the traceback.
        """
        if self._threads is None:
            raise RuntimeError("the pool is closed; use it inside: with ProcessPool(...) as pool")
        if self.workers == 0:
            for job in jobs:
                with one_core_per_operation():  # as a worker does: it can change the last bit of a sum
                    result = self._perform(job)
                yield result
            return
        window: deque[Future[_Result]] = deque()
        try:
            for job in jobs:
                window.append(self._threads.submit(self._ask_a_worker, job))
                if len(window) == self._window:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()

    def _ask_a_worker(self, job: _Job) -> _Result:
        worker = self._idle.get()
        try:
            result: _Result = worker.ask(job)
            return result
        finally:
            self._idle.put(worker)

    def _close(self) -> None:
        for worker in self._started:
            worker.process.kill()
        for worker in self._started:
            worker.process.join()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for worker in self._started:
            worker.connection.close()
            worker.process.close()
        self._started, self._threads = [], None


@dataclass(frozen=True, eq=False)
class _Worker:
    process: ForkServerProcess
    connection: Connection

    def ask(self, job: Any) -> Any:
        try:
            self.connection.send(job)
            answer = self.connection.recv()
        except (EOFError, OSError):
            raise ChildProcessError(self._death_notice(job)) from None
        done, answer = answer
        if done:
            return answer
        raise RuntimeError(f"{job} failed in a worker:\n{answer}")

    def _death_notice(self, job: Any) -> str:
        self.process.join(_DEATH_TIMEOUT)
        code = self.process.exitcode
        cause = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return (
            f"a worker died ({cause}) while {job}. If the machine ran out of "
            "memory (signal 9), use fewer workers; 0 runs without any"
        )


def _start_worker(perform: Callable[[Any], Any], preload: Sequence[str]) -> _Worker:
    preload_workers(preload)
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, perform), name="worker", daemon=True)
    try:
        with _main_module_hidden():
            process.start()
    except EOFError:  # multiprocessing reads the number of the new process from a pipe
        raise ChildProcessError("the server that starts workers died; run the same command again.") from None
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep multiprocessing from running the main script again in every worker.

    Workers need nothing from it. Importing it would cost seconds, and a script without a ``__main__`` guard
    would start itself over and over.
    """
    with _start_lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _serve(connection: Connection, perform: Callable[[Any], Any]) -> None:
    """Body of a worker: answer jobs until the main process hangs up."""
    # Ctrl-C reaches every process of the terminal; the main process decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    while True:
        try:
            answer: tuple[bool, Any] = True, perform(connection.recv())
        except (EOFError, ConnectionError):
            return
        except Exception:  # noqa: BLE001 - sent to the main process, which raises it
            answer = False, traceback.format_exc()
        try:
            connection.send(answer)
        except ConnectionError:
            return
