"""Images one after another, from a folder or from a tar archive, in an order that never changes."""

from __future__ import annotations

import hashlib
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from active_indexing.images import decoding
from active_indexing.images.header import suffixes
from active_indexing.images.picture import Picture


@dataclass(frozen=True, kw_only=True)
class CollectionItem:
    """One image that waits to be decoded; picklable.

    Attributes:
        name: its full path in a folder, or its name in the archive.
        content: the bytes of the file when they come from an archive; ``None``: read the file ``name``.
        progress: units of the source that are behind us once this item is done.
    """

    name: str
    content: bytes | None
    progress: int

    def read(self) -> Picture:
        """Decode the image.

        Raises:
            UnreadableImage: with the reason.
        """
        if self.content is None:
            return decoding.read(Path(self.name))
        return decoding.read_bytes(self.content)


@dataclass(frozen=True, kw_only=True)
class ImageCollection:
    """A folder or an archive of images.

    Attributes:
        identity: what tells these images from others, JSON-serialisable.
        unit: what progress is counted in, `` images`` or ``B``.
        total: units altogether.
        items: the images from the n-th (0 is the first) to the last.
    """

    identity: dict[str, Any]
    unit: str
    total: int
    items: Callable[[int], Iterator[CollectionItem]]


def open_source(path: Path) -> ImageCollection:
    """A folder (with its sub-folders) or a tar archive, plain or compressed.

    Raises:
        FileNotFoundError: if there is nothing at ``path``.
        ValueError: if it holds no images, or is neither a folder nor a tar archive.
    """
    path = Path(os.path.abspath(path))
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise FileNotFoundError(f"no folder or archive {path}; give --data_dir a folder or a .tar of images.")
    if not path.is_file() or not tarfile.is_tarfile(path):
        raise ValueError(f"{path} is neither a folder nor a tar archive; unpack it and give the folder.")
    return _archive(path)


def _folder(root: Path) -> ImageCollection:
    names = [str(path) for path in find_images(root)]
    if not names:
        raise ValueError(f"no images in {root}: looked, in sub-folders too, for files that end like images.")
    listing = hashlib.sha256()
    for name in names:
        listing.update(os.fsencode(name) + b"\0")

    def items(start: int) -> Iterator[CollectionItem]:
        for place in range(start, len(names)):
            yield CollectionItem(name=names[place], content=None, progress=place + 1)

    identity = {"folder": str(root), "images": len(names), "names_sha256": listing.hexdigest()}
    return ImageCollection(identity=identity, unit=" images", total=len(names), items=items)


def _archive(path: Path) -> ImageCollection:
    status = path.stat()

    def items(start: int) -> Iterator[CollectionItem]:
        place = 0
        try:
            with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:*") as archive:
                for member in archive:
                    archive.members = []  # type: ignore[attr-defined] # else it remembers all it met
                    if not _is_image(member):
                        continue
                    if place >= start:
                        yield CollectionItem(
                            name=member.name, content=_content(archive, member), progress=file.tell()
                        )
                    place += 1
                _check_end(archive)
        except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise ValueError(
                f"{path} is damaged or truncated after {place:,} images ({error}); fetch it again."
            ) from error

    identity = {"archive": str(path), "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    return ImageCollection(identity=identity, unit="B", total=status.st_size, items=items)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    return b"" if opened is None else opened.read()


def _check_end(archive: tarfile.TarFile) -> None:
    """An archive ends with blocks of zeros; one that was cut between two members looks ended without them."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end mark")


def _is_image(member: tarfile.TarInfo) -> bool:
    """A regular file that is not hidden and ends like an image."""
    name = PurePosixPath(member.name)
    hidden = any(part.startswith(".") and part not in (".", "..") for part in name.parts)
    return member.isreg() and not hidden and name.suffix.lower() in suffixes()


def find_images(root: Path, exclude: Path | None = None) -> list[Path]:
    """Image files below a folder, by extension, in a stable order.

    Hidden files and folders are skipped. Symbolic links to files are followed, links to folders
    are not, so there are no loops.

    Args:
        root: a folder, or a single file, which is returned whatever its name.
        exclude: a folder whose contents are skipped, e.g. an output folder inside ``root``.

    Returns:
        Paths that begin with ``root``, sorted by their path relative to it.

    Raises:
        FileNotFoundError: if ``root`` does not exist.
        PermissionError: if a folder below ``root`` cannot be listed.
    """
    root = Path(root)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise FileNotFoundError(f"no file or folder {root}; give a folder of images or one image")
    endings = suffixes()
    excluded = None if exclude is None else Path(os.path.realpath(exclude))
    found = []
    for folder, subfolders, names in os.walk(root, onerror=cannot_list):
        if excluded is not None and Path(os.path.realpath(folder)).is_relative_to(excluded):
            subfolders.clear()
            continue
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        visible = (name for name in names if not name.startswith("."))
        found += [Path(folder, n) for n in visible if os.path.splitext(n)[1].lower() in endings]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def cannot_list(error: OSError) -> None:
    """Refuse a folder that can't be listed, as ``os.walk(onerror=...)`` wants it."""
    raise PermissionError(
        f"cannot list the folder {error.filename} ({error.strerror}); allow reading it, or move it elsewhere"
    ) from error
