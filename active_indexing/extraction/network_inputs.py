"""Decoding and preprocessing in worker processes, in the order of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from active_indexing.descriptors.network_input import network_input
from active_indexing.images import decoding
from active_indexing.images.listing import CollectionItem
from active_indexing.parallel.processes import ProcessPool

# More than a pool hands out by default: the workers fill the next batch while the network describes this one.
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
        RuntimeError: if the preprocessing failed inside a worker; the message holds the traceback.
    """
    jobs = (_Job(item, preprocessing) for item in items)
    with ProcessPool(_perform, workers, preload=[__name__], jobs_per_worker=_WINDOW) as pool:
        yield from pool.run(jobs)


@dataclass(frozen=True, eq=False)
class _Job:
    item: CollectionItem
    preprocessing: Callable[[torch.Tensor], torch.Tensor]

    def __str__(self) -> str:
        return f"decoding {self.item.name}"


def _perform(job: _Job) -> Prepared:
    return prepare_image(job.item, job.preprocessing)
