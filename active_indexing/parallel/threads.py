"""Several images at once, one thread each.

Each image is computed on a single core, so its result is the same on every machine whatever the number of
cores, and a busy machine slows the work down in proportion only (threads that share one small operation wait
for the slowest of them at every step).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

WAITING_PER_THREAD = 2
"""Items in flight per thread: enough that none waits, few enough that memory stays small."""


@contextmanager
def one_core_per_operation() -> Iterator[None]:
    """Let torch use one thread per operation inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results in the order of the items, computed by several threads with few items in flight."""
    window: deque[Future[Result]] = deque()
    with _pool(threads) as pool:
        try:
            for item in items:
                window.append(pool.submit(function, item))
                if len(window) == WAITING_PER_THREAD * threads:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()


def map_as_done(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results as they come, computed by several threads with few items in flight."""
    window: set[Future[Result]] = set()
    with _pool(threads) as pool:
        try:
            for item in items:
                window.add(pool.submit(function, item))
                if len(window) == WAITING_PER_THREAD * threads:
                    done, window = wait(window, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while window:
                done, window = wait(window, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in window:
                future.cancel()


def groups_of(size: int, items: Iterable[Item]) -> Iterator[list[Item]]:
    """Lists of ``size`` items, in their order; the last one may be shorter."""
    waiting = iter(items)
    while group := list(islice(waiting, size)):
        yield group


def _pool(threads: int) -> ThreadPoolExecutor:
    # A new thread takes torch's number of threads when it first asks for it; a convolution does not ask.
    return ThreadPoolExecutor(threads, initializer=torch.get_num_threads)


class SharedBudget:
    """A number of units shared by threads; who asks for more than there are gets all, alone.

    Args:
        units: how many may be taken at once.
    """

    def __init__(self, units: int) -> None:
        self._units = units
        self._free = units
        self._changed = threading.Condition()

    @contextmanager
    def take(self, units: int) -> Iterator[None]:
        """Wait until so many units are free and hold them inside the block."""
        units = min(units, self._units)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= units)
            self._free -= units
        try:
            yield
        finally:
            with self._changed:
                self._free += units
                self._changed.notify_all()


class MicroBatcher(Generic[Item, Result]):
    """Calls from many threads, answered in batches.

    While one batch is in work the next one gathers.

    Args:
        function: items to results, in order.
        at_most: items of a batch.
    """

    def __init__(self, function: Callable[[list[Item]], list[Result]], at_most: int) -> None:
        self._function = function
        self._at_most = at_most
        self._waiting: deque[tuple[Item, Future[Result]]] = deque()
        self._turn = threading.Lock()

    def __call__(self, item: Item) -> Result:
        """The result of one item; what the function raises for a batch is found out item by item."""
        mine: Future[Result] = Future()
        self._waiting.append((item, mine))
        while not mine.done():
            with self._turn:
                batch = [self._waiting.popleft() for _ in range(min(self._at_most, len(self._waiting)))]
                self._answer(batch)
        return mine.result()

    def _answer(self, batch: list[tuple[Item, Future[Result]]]) -> None:
        if not batch:
            return
        try:
            results = self._function([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - given to the thread that asked
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for each in batch:
                self._answer([each])
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
