"""Training images as one memory-mapped array of small squares, made once from a folder or a tar file."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from active_indexing.artefacts.atomic import atomic_file, write_json
from active_indexing.images.decoding import UnreadableImage, read
from active_indexing.images.listing import find_images

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class ImageArray:
    """Images of one size in a ``.npy`` file; only those that are asked for are read.

    Args:
        path: made by :func:`make_bank`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the array is no stack of square RGB images.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"there is no image bank {path}; make it with make_bank first.")
        self.path = path
        self.array = np.load(path, mmap_mode="r")
        shape = self.array.shape
        if self.array.dtype != np.uint8 or len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise ValueError(
                f"{path} holds {shape} {self.array.dtype}, expected (N, 3, S, S) uint8; make it again."
            )

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """(B,) int64 to (B, 3, S, S) uint8."""
        return torch.from_numpy(self.array[rows.numpy()])

    def names(self) -> list[str]:
        """File names of the images.

        Raises:
            FileNotFoundError: if the bank was made by a program that did not write them.
        """
        path = _names_path(self.path)
        if not path.is_file():
            raise FileNotFoundError(
                f"{self.path} was made by an older program, without names; delete it and run again."
            )
        names: list[str] = json.loads(path.read_text())
        return names


def make_bank(source: Path, path: Path, edge: int, limit: int | None = None) -> list[str]:
    """Decode every image of a source, squeeze it to a square, and write the array atomically.

    Args:
        source: a folder, searched recursively in sorted order, or a tar file, in its own order.
        path: the ``.npy`` file to write.
        edge: of the squares, pixels; images are reduced with an antialiased bilinear filter.
        limit: take only so many.

    Returns:
        What was left out, one sentence each.

    Raises:
        FileNotFoundError: if the source does not exist.
        ValueError: if no image of it can be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"the training images {source} do not exist; check the path.")
    skipped: list[str] = []
    names: list[str] = []
    with atomic_file(path) as file:
        _write_header(file, 0, edge)
        count = 0
        for name, image in tqdm(_images(source), desc=f"reading {source.name}", unit="image", disable=None):
            if limit is not None and count == limit:
                break
            if isinstance(image, str):
                skipped.append(f"{name}: {image}")
                continue
            square = Image.fromarray(image).resize((edge, edge), Image.Resampling.BILINEAR)
            file.write(np.asarray(square).transpose(2, 0, 1).tobytes())
            names.append(PurePath(name).name)
            count += 1
        if not count:
            raise ValueError(f"{source} holds no readable image; {len(skipped)} could not be read.")
        file.seek(0)
        _write_header(file, count, edge)
        file.seek(0, io.SEEK_END)
        write_json(_names_path(path), names)
    return skipped


def _names_path(path: Path) -> Path:
    return path.with_suffix(".names.json")


def _write_header(file: BinaryIO, count: int, edge: int) -> None:
    """Header of a .npy file; NumPy pads it so that it has the same length for every ``count``."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, edge, edge)}
    np.lib.format.write_array_header_1_0(file, header)


def _images(source: Path) -> Iterator[tuple[str, np.ndarray | str]]:
    """Name, and the (H, W, 3) uint8 sRGB pixels or the reason why there are none."""
    for name, path in _tar_members(source) if source.is_file() else _files(source):
        try:
            yield name, read(path).srgb
        except UnreadableImage as error:
            yield name, str(error)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in find_images(folder):
        yield str(path), path


def _tar_members(path: Path) -> Iterator[tuple[str, Path]]:
    """Images of a tar file, unpacked one at a time; streamed, so that a compressed one is read once."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path, "r|*") as archive:
        for member in archive:
            suffix = Path(member.name).suffix.lower()
            if not member.isfile() or suffix not in EXTENSIONS:
                continue
            content = archive.extractfile(member)
            assert content is not None  # it is a file
            unpacked = Path(folder) / f"image{suffix}"
            unpacked.write_bytes(content.read())
            yield member.name, unpacked
