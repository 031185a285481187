"""The store behind the service: answers one after the other, in step with what others release and remove."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from active_indexing.images.decoding import read_bytes
from active_indexing.images.header import TooManyPixels, UnreadableImage
from active_indexing.images.thumbnails import jpeg_thumbnail
from active_indexing.query.answers import Answer, Judge
from active_indexing.query.lookup import Lookup, QueryConfig
from active_indexing.query.store_calibration import ESTIMATE, FILE_NAME, StoreCalibration
from active_indexing.service.config import ServiceConfig
from active_indexing.service.refusals import Refusal, busy
from active_indexing.service.uploads import Room
from active_indexing.store.archive import Store
from active_indexing.store.rows import REMOVED, StoredImage

THUMBNAILS = 64
"""Small pictures that are kept in memory, 10 to 100 kB each."""

GROWTH = 2
"""An estimated threshold is estimated anew when the store has grown or shrunk so many times."""

Done = TypeVar("Done")


@dataclass(frozen=True)
class Asked:
    """An answer with what a page needs to show it.

    Attributes:
        answer: as ``query`` gives it.
        size: height and width of the query in pixels.
        scale: normalized scores from which ``unsure`` and ``match`` begin; ``None`` without a calibration.
        notes: what limits all verdicts of this store.
    """

    answer: Answer
    size: tuple[int, int]
    scale: tuple[float, float] | None
    notes: tuple[str, ...]


class Engine:
    """An open store that answers for one process; nothing is ever written to it.

    One thread describes and searches, one makes small pictures, so the memory of an image in work is needed
    once each; requests wait for them with their bytes alone.

    Args:
        folder: of the store.
        service: limits.
        query: how the store is asked.
        device: where the descriptor runs.

    Attributes:
        query: how the store is asked.
        store: its rows, for what need not wait for a description.
        room: memory for uploads.

    Raises:
        FileNotFoundError: no store there.
        StoreError: a store that can't be used.
    """

    def __init__(
        self, folder: Path, service: ServiceConfig, query: QueryConfig, device: torch.device
    ) -> None:
        self._folder, self._service, self.query, self._device = Path(folder), service, query, device
        self._lookup = self._opened()
        self.store = Store(self._folder)
        self._asking = ThreadPoolExecutor(1, "asking")
        self._drawing = ThreadPoolExecutor(1, "drawing")
        self._thumbnails: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._in_hand = 0
        self.room = Room(service.concurrent * service.max_mb * 1_000_000)
        self._asking.submit(
            self._lookup.ask, np.zeros((64, 64, 3), np.uint8)
        ).result()  # the first one is slow

    def close(self) -> None:
        """Finish what is in work, and close the store."""
        self._asking.shutdown(cancel_futures=True)
        self._drawing.shutdown(cancel_futures=True)
        self._lookup.close()
        self.store.close()

    @contextmanager
    def in_hand(self) -> Iterator[None]:
        """A request, whose body has come, is one of those that may be in work or wait.

        Raises:
            Refusal: there are as many as there may be.
        """
        if self._in_hand >= self._service.concurrent:
            raise busy(
                f"{self._service.concurrent} requests are in hand already; send this one again in a second."
            )
        self._in_hand += 1
        try:
            yield
        finally:
            self._in_hand -= 1

    async def ask(self, content: bytes) -> Asked:
        """Ask about the bytes of an image file.

        Raises:
            Refusal: no readable image, too many pixels, or no core became free in time.
        """
        return await self.work(lambda lookup: self._ask(lookup, content))

    async def work(self, work: Callable[[Lookup], Done]) -> Done:
        """Do something with the store as it is now, in the one thread that describes and searches.

        Raises:
            Refusal: no core became free in time, or what the work raises.
        """

        def on_the_newest() -> Done:
            self._follow()
            return work(self._lookup)

        return await self._in_turn(self._asking, on_the_newest)

    def decoded(self, content: bytes) -> np.ndarray:
        """(H, W, 3) uint8 sRGB of an image file.

        Raises:
            Refusal: no readable image, or too many pixels.
        """
        try:
            return read_bytes(content, self._service.max_megapixels * 1_000_000).srgb
        except TooManyPixels as error:
            raise Refusal(413, "too_many_pixels", f"{error}; send a smaller copy of the image.") from None
        except UnreadableImage as error:
            raise Refusal(422, "unreadable", f"the image can't be read: {error}.") from None

    async def thumbnail(self, image_id: int, edge: int) -> bytes:
        """A small JPEG of a released image.

        Raises:
            Refusal: no such image, or its file is gone.
        """
        row = self.row(image_id)  # before a kept picture is given: the image may have been removed since
        return await self._in_turn(self._drawing, lambda: self._thumbnail(row, edge))

    def row(self, image_id: int) -> StoredImage:
        """The row of a released image.

        Raises:
            Refusal: there is none, or it was removed.
        """
        rows = self.store.database.images([image_id]) if image_id < 1 << 63 else []
        if not rows:
            raise Refusal(404, "not_found", f"no image has the id {image_id}.")
        if rows[0].status == REMOVED:
            raise Refusal(410, "removed", f"the image {image_id} was removed from the store.")
        return rows[0]

    def path_of(self, row: StoredImage) -> Path:
        """Where the released file is."""
        return row.path(self._folder)

    @property
    def notes(self) -> tuple[str, ...]:
        """What limits all verdicts of this store; without the path of its folder, for others to read."""
        return tuple(note.replace(str(self._folder), "STORE") for note in self._lookup.notes)

    @property
    def calibration(self) -> StoreCalibration:
        """What the verdicts rest on."""
        return self._lookup.calibration

    def scale(self) -> tuple[float, float] | None:
        """Normalized scores from which ``unsure`` and ``match`` begin; ``None`` without a calibration."""
        images = self.store.database.count_released()
        return Judge(self.calibration.strangers, self.query.false_positive_rate, images).scale()

    async def _in_turn(self, threads: ThreadPoolExecutor, work: Callable[[], Done]) -> Done:
        """Work that waits for its thread only so long; what has begun is bounded by the pixels, and ends."""
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told() -> Done:
            loop.call_soon_threadsafe(begun.set)
            return work()

        future = threads.submit(told)
        try:
            await asyncio.wait_for(begun.wait(), self._service.queue_seconds)
        except TimeoutError:
            if future.cancel():
                told_busy = (
                    f"no core became free within {self._service.queue_seconds} s; send it again later."
                )
                raise busy(told_busy) from None
        except asyncio.CancelledError:
            future.cancel()
            raise
        return await asyncio.wrap_future(future)

    def _ask(self, lookup: Lookup, content: bytes) -> Asked:
        pixels = self.decoded(content)
        answer = lookup.ask_decoded("image", pixels, content)
        height, width = pixels.shape[:2]
        return Asked(answer, (height, width), self.scale(), self.notes)

    def _thumbnail(self, row: StoredImage, edge: int) -> bytes:
        key = row.id, edge
        if key not in self._thumbnails:
            try:
                self._thumbnails[key] = jpeg_thumbnail(self.path_of(row), edge)
            except UnreadableImage as error:
                told = f"the released file of {row.id} can't be read: {error}; `store verify` tells more."
                raise Refusal(404, "no_file", told) from None
        self._thumbnails.move_to_end(key)
        while len(self._thumbnails) > THUMBNAILS:
            self._thumbnails.popitem(last=False)
        return self._thumbnails[key]

    def _opened(self) -> Lookup:
        self._calibrated = self._calibration_stamp()
        lookup = Lookup(self._folder, self.query, self._device)
        self._counted = lookup.store.database.count_released()
        return lookup

    def _follow(self) -> None:
        """Open the store anew where its thresholds are others by now; images need no such thing."""
        stale = self._calibration_stamp() != self._calibrated
        if not stale and self._lookup.calibration.source == ESTIMATE:
            count, before = self._lookup.store.database.count_released(), max(1, self._counted)
            stale = count != self._counted and not 1 / GROWTH < max(1, count) / before < GROWTH
        if stale:
            older, self._lookup = self._lookup, self._opened()
            older.close()

    def _calibration_stamp(self) -> tuple[int, int] | None:
        try:
            status = (self._folder / FILE_NAME).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns
