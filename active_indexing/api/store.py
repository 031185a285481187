"""A release store from Python: release pictures into it, ask it, look after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, overload

from active_indexing.api.index import AnyImage, plain_image
from active_indexing.config import configure
from active_indexing.images import any_image
from active_indexing.images.inventory import content_id
from active_indexing.parallel.resources import device_for
from active_indexing.parallel.threads import one_core_per_operation
from active_indexing.query.answers import Answer
from active_indexing.query.calibrating import Calibrated, calibrate
from active_indexing.query.lookup import Lookup, QueryConfig
from active_indexing.records import SourceImage
from active_indexing.release.into_store import StoreRelease
from active_indexing.store.archive import Store
from active_indexing.store.export import Export, export
from active_indexing.store.repair import Repair, repair
from active_indexing.store.rows import StoredImage
from active_indexing.store.status import StoreStatus, status_of
from active_indexing.store.verify import Verification, verify
from active_indexing.store_run import FROZEN, Pictures, release

MOST_ASKED = 2000
"""Images that a calibration asks about at most, as on the command line."""


class ReleaseStore:
    """One folder that remembers every image that was released, as the commands of the command line see it.

    Args:
        folder: of the store; the first release makes it.
        wait: seconds to wait for another program that writes to it.
        device: torch device; absent: a GPU when there is one.
        **query: how it is asked: ``false_positive_rate``, ``nprobe``, ``candidates``, ``views``; see
            :class:`active_indexing.query.lookup.QueryConfig`.

    Raises:
        ValueError: a setting out of its range.

    Every method raises FileNotFoundError where there is no store, and StoreError, a ValueError, for one that
    can't be used; the text says what to do.
    """

    def __init__(
        self, folder: Path | str, *, wait: float = 0, device: str | None = None, **query: Any
    ) -> None:
        self.folder = Path(folder)
        self._wait, self._device, self._config = wait, device, QueryConfig(**query)
        self._lookup: Lookup | None = None

    def __repr__(self) -> str:
        """The folder."""
        return f"ReleaseStore({str(self.folder)!r})"

    def __enter__(self) -> ReleaseStore:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened for questions; the next one opens it again."""
        if self._lookup is not None:
            self._lookup.close()
            self._lookup = None

    def release(
        self, images: AnyImage | Sequence[AnyImage] | Mapping[str, AnyImage], **settings: Any
    ) -> StoreRelease:
        """Release what is new among some images; killed at any point, the same call completes it.

        Args:
            images: a folder, searched recursively; a picture (path, bytes of a file, image of Pillow, array
                or tensor); several of them; or a mapping of names to pictures. The name is that of the
                released file; without one a picture in memory is called by its id.
            **settings: named like the flags of ``active-indexing release``. What a store has frozen is
                taken from it, and refused when it is given and differs.

        Raises:
            StoreError: settings that do not fit the store, or another program that writes.
            ValueError: a setting out of its range, or a picture in memory that is none.
        """
        folder = isinstance(images, str | Path)
        config = configure(
            data_dir=images if folder else self.folder,
            output_dir=self.folder,
            **{"device": self._device, "verbose": 0} | settings,
        )
        return release(
            config,
            self.folder,
            pictures=None if folder else _pictures(images),
            frozen=FROZEN.isdisjoint(settings),
            wait=self._wait,
        )

    @overload
    def query(self, images: list[AnyImage] | tuple[AnyImage, ...]) -> list[Answer]: ...
    @overload
    def query(self, images: AnyImage) -> Answer: ...
    def query(self, images: Any) -> Any:
        """Is it ours, which one, how sure? What is released or removed meanwhile counts.

        Args:
            images: a picture, or several of them; a path that leads to no picture is answered
                ``unreadable``.
        """
        if self._lookup is None:
            self._lookup = Lookup(self.folder, self._config, device_for(self._device))
        several = isinstance(images, list | tuple)
        with one_core_per_operation():
            answers = [self._lookup.ask(plain_image(each)) for each in (images if several else [images])]
        return answers if several else answers[0]

    def calibrate(
        self, non_matching: Path | str | Sequence[AnyImage] | None = None, most: int = MOST_ASKED
    ) -> Calibrated:
        """Measure how near foreign images come, and keep it in the store, for all who ask it.

        Args:
            non_matching: a folder of images that are not in the store, or such pictures; absent: the store's
                own images, each against the others.
            most: images that are asked about at most, picked at random.
        """
        foreign: Path | Sequence[any_image.AnyImage] | None
        if isinstance(non_matching, str | Path):
            foreign = Path(non_matching)
        else:
            foreign = None if non_matching is None else [plain_image(each) for each in non_matching]
        self.close()
        return calibrate(self.folder, self._config, foreign, most, device_for(self._device), progress=False)

    def status(self) -> StoreStatus:
        """What it holds, and what is frozen."""
        with Store(self.folder) as store:
            return status_of(store)

    def images(self, ids: Sequence[int]) -> list[StoredImage]:
        """Rows of the ids that are known, removed ones too, in the order of arrival."""
        with Store(self.folder) as store:
            return store.database.images(ids)

    def verify(
        self, *, max_age: float | None = None, max_duration: float | None = None, progress: bool = False
    ) -> Verification:
        """Compare every file, hash, code and vector with what was recorded; the worst and oldest first.

        When each image was verified is kept, where the store may be written to.

        Args:
            max_age: seconds; images verified within them are passed over, but for those that were damaged.
            max_duration: seconds after which no further image is begun.
            progress: show a bar with an estimate.
        """
        record = Store.is_writable(self.folder)
        with Store(self.folder, writable=record) as store:
            return verify(store, max_age=max_age, max_duration=max_duration, record=record, progress=progress)

    def repair(self, *, apply: bool = False, progress: bool = False) -> list[Repair]:
        """Tell what is damaged and what can be done; with ``apply`` do it. Nothing: the store is whole."""
        with Store.writing(self.folder, self._wait) as store:
            return repair(store, apply=apply, progress=progress)

    def remove(self, ids: int | Sequence[int]) -> dict[int, StoredImage | None]:
        """Take images down: nobody finds them any more, also those who have the store open.

        Returns:
            Id to its row as it was; ``None`` where no released image has the id.
        """
        with Store.writing(self.folder, self._wait) as store:
            rows = {each: store.remove(each) for each in ([ids] if isinstance(ids, int) else ids)}
            store.save_cache_if_due()
            return rows

    def rebuild(self) -> Path:
        """Make the index file again from the codes, byte for byte; no image is read."""
        with Store.writing(self.folder, self._wait) as store:
            return store.save_cache()

    def export(self, folder: Path | str) -> Export:
        """Write ids, descriptors, codes and all that was trained as arrays; see ``store.export``."""
        with Store(self.folder) as store:
            return export(store, Path(folder))


def _pictures(images: Any) -> Pictures:
    """Sources of pictures in any form; paths are read when they are released."""
    if isinstance(images, Mapping):
        named = list(images.items())
    else:
        named = [("", each) for each in (images if isinstance(images, list | tuple) else [images])]
    sources, contents = [], {}
    for name, image in named:
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise ValueError(f"the name of a picture is a path inside the store's folder, got {name!r}.")
        plain = plain_image(image)
        if isinstance(plain, str | Path):
            path = Path(plain)
            sources.append(SourceImage(0, path, name or path.name))
        else:
            content = any_image.file_of(plain)
            path = Path(name or f"{content_id(content):x}.png")
            contents[path] = content
            sources.append(SourceImage(0, path, path.as_posix()))
    return Pictures(sources, contents)
