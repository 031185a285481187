"""Decoding and preprocessing in worker processes, in the order of the images."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from active_indexing.descriptors.network_input import network_input
from active_indexing.images import decoding
from active_indexing.images.listing import CollectionItem

# Images handed out but not yet taken back, per worker: bounds memory, and keeps workers busy while the
# network describes a batch.
_WINDOW = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """One image on its way to the network.

    Attributes:
        name: of the image.
        progress: units of the source that are behind us.
        pixels: (3, h, w) float32 network input, or None if the image could not be read.
        reason: why it could not be read, else empty.
    """

    name: str
    progress: int
    pixels: np.ndarray | None
    reason: str = ""


def prepare_image(item: CollectionItem, preprocessing: Callable[[torch.Tensor], torch.Tensor]) -> Prepared:
    """Decode one image and make the network's input of it."""
    try:
        if "\n" in item.name or "\r" in item.name:
            raise decoding.UnreadableImage(
                "its name holds a line break, which filenames.txt cannot; rename it"
            )
        view = item.read().srgb
        pixels = network_input(
            lambda top, bottom: view[top:bottom], view.shape[0], view.shape[1], preprocessing
        )
    except decoding.UnreadableImage as reason:
        return Prepared(name=item.name, progress=item.progress, pixels=None, reason=str(reason))
    return Prepared(name=item.name, progress=item.progress, pixels=pixels)


def stream_network_inputs(
    items: Iterable[CollectionItem], preprocessing: Callable[[torch.Tensor], torch.Tensor], workers: int
) -> Iterator[Prepared]:
    """Prepare images in worker processes.

    Args:
        items: taken only as they are needed.
        preprocessing: picklable.
        workers: number of processes; 0 works in this one.

    Yields:
        One result per item, in order, the same for any number of workers.

    Raises:
        ValueError: if ``workers`` is negative.
        ChildProcessError: if a worker died.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 (this process) or more, got {workers}.")
    if workers == 0:
        for item in items:
            yield prepare_image(item, preprocessing)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    waiting = iter(items)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_work) as pool:
        window: deque[Future[Prepared]] = deque()
        try:
            for item in islice(waiting, _WINDOW * workers):
                window.append(pool.submit(prepare_image, item, preprocessing))
            while window:
                yield window.popleft().result()
                for item in islice(waiting, 1):
                    window.append(pool.submit(prepare_image, item, preprocessing))
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a process that decodes images died, perhaps for lack of memory; run the same command again, "
                "with fewer --workers."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin_work() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides what Ctrl-C means
    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_the_main_process, daemon=True).start()


def _leave_with_the_main_process() -> None:
    """A worker waits for work on a pipe that the other workers hold open, so it would wait for ever."""
    main = multiprocessing.parent_process()
    if main is not None:
        main.join()
        os._exit(1)
