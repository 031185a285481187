"""A store on the disk: made once, opened by many, written to by one at a time.

contract.json    what is frozen; written last when a store is made
contract/        copies of the descriptor's weights and of the trained index
store.sqlite     the record of truth
released/        released files that the store keeps itself
cache/           the index as a FAISS file, made again whenever it is missing
lock             held by the program that writes
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts.atomic import (
    copy_file,
    fsync_folder,
    make_folder,
    remove_leftovers,
    unlink,
    write_array,
    write_bytes,
)
from active_indexing.artefacts.identity import sha256_bytes
from active_indexing.artefacts.locking import exclusive_lock, holder_of
from active_indexing.index.code_index import Codec, IndexFileError, decoded_entries
from active_indexing.store import cache
from active_indexing.store.contract import FILE_NAME as CONTRACT
from active_indexing.store.contract import Contract, read_contract, write_contract
from active_indexing.store.errors import StoreBusyError, StoreError
from active_indexing.store.rows import REMOVED, NewImage, StoredImage
from active_indexing.store.schema import ENDINGS
from active_indexing.store.schema import FILE_NAME as DATABASE
from active_indexing.store.tables import Database

RELEASED_FOLDER = "released"
CONTRACT_FOLDER = "contract"
TRAINED_INDEX = Path(CONTRACT_FOLDER) / "trained.index"
BASE_INDEX = Path(CONTRACT_FOLDER) / "base.index"
STRANGERS = Path(CONTRACT_FOLDER) / "strangers.npy"

MOST_STRANGERS = 1000
"""References whose decoded vectors are kept: 512 kB, and enough for the spread of strangers."""


@dataclass(frozen=True)
class CarriedFile:
    """A file that a store keeps a copy of, because it can't be used without.

    Attributes:
        source: where it is now.
        name: its name below ``contract/``.
    """

    source: Path
    name: str


class Store:
    """An open store.

    Args:
        folder: of the store.
        writable: open the database for writing; use :meth:`writing` to have the store for oneself.

    Raises:
        FileNotFoundError: no store there.
        StoreError: damaged, or of another version.
    """

    def __init__(self, folder: Path, *, writable: bool = False) -> None:
        self.folder = Path(folder)
        self.contract, self.carried = read_contract(self.folder)
        self.database = Database(self.folder / DATABASE, writable=writable)
        kept = self.database.meta("contract")
        if kept != self.contract.fingerprint:
            self.database.close()
            raise StoreError(
                f"{self.folder / CONTRACT} and {self.folder / DATABASE} belong to different stores; "
                f"put both back "
                "from one copy."
            )

    @classmethod
    @contextmanager
    def writing(cls, folder: Path, wait: float = 0) -> Iterator[Store]:
        """Have a store for oneself until the block ends; readers go on reading.

        Args:
            folder: of the store.
            wait: seconds to wait for another program that writes.

        Raises:
            StoreBusyError: another program still writes after ``wait`` seconds.
        """
        read_contract(Path(folder))  # before a lock is made in a folder that is no store
        with _locked(Path(folder), wait):
            store = cls(folder, writable=True)
            remove_leftovers([store.folder, store.folder / CONTRACT_FOLDER, store.folder / cache.FOLDER])
            cache.remove_older(store.folder)
            try:
                yield store
            finally:
                store.close()

    @staticmethod
    def is_writable(folder: Path) -> bool:
        """Whether this user may write to a store, or to where one would be."""
        return os.access(folder, os.W_OK)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def codec(self) -> Codec:
        """The trained index without entries.

        Raises:
            StoreError: its file is missing or damaged.
        """
        try:
            return Codec(self.whole_file(TRAINED_INDEX, self.contract.index["training"]))
        except IndexFileError as error:
            raise StoreError(f"{self.folder / TRAINED_INDEX} is damaged; {_way_back(self)}.") from error

    def whole_file(self, name: Path, sha256: str) -> bytes:
        """Bytes of a file that the contract names.

        Args:
            name: relative to the store.
            sha256: that it must have.

        Raises:
            StoreError: it is missing, or was changed.
        """
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path} is missing or can't be read; {_way_back(self)}.") from error
        if sha256_bytes(content) != sha256:
            raise StoreError(f"{path} was changed after it was written; {_way_back(self)}.")
        return content

    @cached_property
    def strangers(self) -> np.ndarray:
        """What the index remembers of some of its references, (N, D) float32, unit norm; N may be 0."""
        try:
            vectors = np.load(self.folder / STRANGERS).astype(np.float32)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{self.folder / STRANGERS} is missing or damaged; {_way_back(self)}."
            ) from error
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def append(self, run: int, images: Sequence[NewImage]) -> None:
        """Record images that are on the disk: the receipt that all of them is there.

        Args:
            run: number of the run, from ``database.begin_run``.
            images: any number, recorded all or none.

        Raises:
            StoreError: an image that is there already, or a full disk; nothing was recorded.
        """
        codes = [self.codec.encode(image.entries) for image in images]
        cells = [int(self.codec.cells(of_one)[0]) for of_one in codes]
        self.database.insert(run, images, codes, cells)

    def remove(self, image_id: int) -> StoredImage | None:
        """Take an image down: from now on nobody finds it, those who have the store open neither.

        Its codes, its descriptors and the released file that the store keeps are deleted; the row stays,
        with the hashes, so that the next run over the same folder does not release it again.

        Returns:
            Its row; ``None`` when there is no released image of this id.
        """
        row = self.database.remove(image_id)
        for removed in self.database.images(
            [image_id]
        ):  # also by a removal that was killed before it got here
            if (
                removed.status == REMOVED
                and removed.is_inside
                and self.database.find_name(removed.released) is None
            ):
                unlink(removed.path(self.folder))
        return row

    def save_cache_if_due(self) -> None:
        """Write the index file anew when too much has changed since the last one."""
        if cache.is_due(self.folder, self.database):
            self.save_cache()

    def save_cache(self) -> Path:
        """Write the index file anew, from the codes."""
        return cache.save(self.folder, self.database, self.codec)


def create_store(
    folder: Path, contract: Contract, index: bytes, files: Sequence[CarriedFile], loading: dict[str, Any]
) -> None:
    """Make a store; what an earlier creation left half done is made anew.

    Args:
        folder: missing, empty, or left by a creation that was killed.
        contract: what is frozen.
        index: bytes of the trained index with its references, which the activation is given.
        files: of the descriptor.
        loading: how the descriptor is loaded from them.

    Raises:
        StoreError: the folder holds something else, or another program is making it.
    """
    _refuse_foreign(folder)
    make_folder(folder)
    with _locked(folder, 0):
        if (folder / CONTRACT).exists():
            return
        remove_leftovers([folder, folder / CONTRACT_FOLDER])
        codec = Codec(index)
        write_bytes(folder / BASE_INDEX, index)
        write_bytes(folder / TRAINED_INDEX, codec.content)
        write_array(folder / STRANGERS, decoded_entries(index, MOST_STRANGERS).astype(np.float16))
        for file in files:
            copy_file(file.source, folder / CONTRACT_FOLDER / file.name)
        meta = {"contract": contract.fingerprint, "dim": str(codec.dim), "removals": "0"}
        Database.create(folder / DATABASE, meta).close()
        fsync_folder(folder)
        write_contract(contract, folder, loading)


def free_name(database: Database, wanted: str, image_id: int) -> str:
    """A name for a released file that no row has: the wanted one, or the wanted one with the id in it.

    Args:
        database: asked for rows of this name.
        wanted: relative to ``released/``.
        image_id: id of the image.
    """
    name = f"{RELEASED_FOLDER}/{wanted}"
    if database.find_name(name) is None:
        return wanted
    stem, ending = os.path.splitext(wanted)
    return f"{stem}.{image_id:x}{ending}"


@contextmanager
def _locked(folder: Path, wait: float) -> Iterator[None]:
    path = folder / "lock"
    try:
        with exclusive_lock(path, wait):
            yield
    except BlockingIOError as error:
        raise StoreBusyError(
            f"another program ({holder_of(path)}) is writing to {folder}; wait until it ends, or give "
            f"--wait SECONDS."
        ) from error
    except PermissionError as error:
        raise StoreError(
            f"{folder} can't be written to ({error.strerror}): give yourself the right to write to this "
            "folder and what is in it, or choose another."
        ) from error


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; a store is a folder.")
    known = {CONTRACT_FOLDER, "lock", CONTRACT, *(f"{DATABASE}{ending}" for ending in ENDINGS)}
    if (folder / CONTRACT).exists() or not folder.is_dir():
        return
    foreign = [name for name in os.listdir(folder) if name not in known and not name.startswith(".writing-")]
    if foreign:
        raise StoreError(
            f"{folder} holds other files ({', '.join(sorted(foreign)[:3])}) and no store; choose an "
            f"empty folder."
        )


def _way_back(store: Store) -> str:
    return f"`active-indexing store repair {store.folder}` makes it again, or put it back from a copy"
