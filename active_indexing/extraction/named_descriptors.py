"""Descriptors with the names of their images: HDF5 files of the challenge, and our own extractions.

An HDF5 file holds ``vectors`` (N, D) floats and ``image_names`` (N,) byte strings. ViT4ICD writes large sets
in parts, ``reference_0_v1.hdf5``, ``reference_1_v1.hdf5``, ...; the name ``reference_v1.hdf5`` stands for
all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.extraction.matrix_file import open_descriptors, reference_names
from active_indexing.extras import third_party
from active_indexing.images.header import suffixes

HDF5_SUFFIXES = (".hdf5", ".h5")
MATRIX_SUFFIXES = (".npy", ".pth", ".pt")


@dataclass(frozen=True, eq=False)
class NamedDescriptors:
    """Descriptors and names of images.

    Attributes:
        names: N names as the file has them, which may be paths.
        vectors: (N, D) float32, finite; of any length when they come from an HDF5 file.
    """

    names: tuple[str, ...]
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Names as ground truths have them: ``queries/Q00001.jpg`` is ``Q00001``.

        Folders go, and the ending of an image file; any other ending stays.
        """
        endings = suffixes()
        parts = (os.path.splitext(os.path.basename(name)) for name in self.names)
        return tuple(stem if ending.lower() in endings else stem + ending for stem, ending in parts)


def open_set(paths: Sequence[Path], describe: Callable[[Path], Path]) -> NamedDescriptors:
    """Descriptors of images, from files of descriptors or from the images themselves.

    Args:
        paths: HDF5 files; .npy, .pth or .pt with ``filenames.txt`` beside them; folders or archives of
            images.
        describe: extracts an image folder or archive and returns the .npy or .pth file.

    Raises:
        FileNotFoundError: a missing file.
        ValueError: files that don't fit together.
    """
    parts = [_open(path, describe) for path in paths]
    dims = {part.vectors.shape[1] for part in parts}
    if len(dims) > 1:
        raise ValueError(
            f"{', '.join(map(str, paths))} have descriptors of lengths {sorted(dims)}; extract all "
            "with one descriptor."
        )
    return _joined(parts)


def read_hdf5(path: Path) -> NamedDescriptors:
    """Read one HDF5 file, or the parts it was written in.

    Raises:
        FileNotFoundError: neither the file nor a part of it is there.
        ValueError: a missing part, or a file without the two datasets.
    """
    return _joined([_read_part(part) for part in _parts(path)])


def write_hdf5(path: Path, descriptors: NamedDescriptors) -> None:
    """Write one HDF5 file, atomically.

    Args:
        path: final path.
        descriptors: names are written as UTF-8 bytes; vectors may be memory-mapped.
    """
    with atomic_file(path) as content, third_party("h5py", "training").File(content, "w") as file:
        file.create_dataset("vectors", data=descriptors.vectors, dtype=np.float32)
        file["image_names"] = as_bytes(descriptors.names)


def parts_of(path: Path, whole: NamedDescriptors, images: int) -> Iterator[tuple[Path, NamedDescriptors]]:
    """Descriptors in parts of so many images, with the file of each; 0 images is one part, ``path`` itself.

    The number of a part comes after the first word of the name, as [ViT4ICD] puts it: :func:`read_hdf5` finds
    the parts by the common name.
    """
    if not images:
        yield path, whole
        return
    head, joint, rest = path.stem.partition("_")
    for number, start in enumerate(range(0, len(whole), images)):
        rows = slice(start, start + images)
        name = f"{head}_{number}{joint}{rest}{path.suffix}"
        yield path.with_name(name), NamedDescriptors(whole.names[rows], whole.vectors[rows])


def as_bytes(names: Sequence[str]) -> np.ndarray:
    """N names as the (N,) byte strings that HDF5 files of the challenge hold."""
    return np.array([os.fsencode(name) for name in names], dtype=np.bytes_)


def challenge_ids(names: Sequence[str]) -> tuple[str, ...]:
    """N names of images as ground truths have them, each once.

    Raises:
        ValueError: two images whose names differ in folder or ending only.
    """
    ids = NamedDescriptors(tuple(names), np.empty((len(names), 0), np.float32)).ids
    first: dict[str, str] = {}
    for name, short in zip(names, ids, strict=True):
        if short in first:
            raise ValueError(
                f"{first[short]} and {name} would both be called {short} in an HDF5 file of the challenge, "
                "which has names without folder and ending; rename one, or use --format npy, which goes on "
                "with what is described already."
            )
        first[short] = name
    return ids


def _joined(parts: Sequence[NamedDescriptors]) -> NamedDescriptors:
    names = tuple(name for part in parts for name in part.names)
    vectors = parts[0].vectors if len(parts) == 1 else np.concatenate([part.vectors for part in parts])
    return NamedDescriptors(names, vectors)


def _open(path: Path, describe: Callable[[Path], Path]) -> NamedDescriptors:
    if path.suffix in HDF5_SUFFIXES:
        return read_hdf5(path)
    matrix = path if path.suffix in MATRIX_SUFFIXES else describe(path)
    file = open_descriptors(matrix)
    listing = reference_names(matrix, len(file))
    if listing is None:
        raise FileNotFoundError(
            f"no filenames.txt beside {matrix}, so its rows have no names; extract it again with "
            "scripts/extract_fts.py."
        )
    names = tuple(os.fsdecode(line) for line in listing.read_bytes().split(b"\n")[:-1])
    return NamedDescriptors(names, np.concatenate([rows for _, rows in file.chunks()]))


def _parts(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    head, _, rest = path.stem.partition("_")
    pattern = re.compile(
        rf"{re.escape(head)}_(\d+){re.escape('_' + rest if rest else '')}{re.escape(path.suffix)}"
    )
    found = {}
    for other in path.parent.glob(f"*{path.suffix}"):
        match = pattern.fullmatch(other.name)
        if match:
            found[int(match[1])] = other
    if not found:
        raise FileNotFoundError(f"no file {path}, and no parts of it ({head}_0{path.name[len(head) :]} ...).")
    missing = sorted(set(range(max(found) + 1)) - set(found))
    if missing:
        raise ValueError(f"part {missing[0]} of {path} is missing; parts up to {max(found)} are there.")
    return [found[number] for number in sorted(found)]


def _read_part(path: Path) -> NamedDescriptors:
    try:
        with third_party("h5py", "training").File(path, "r") as file:
            vectors, names = file["vectors"][()], file["image_names"][()]
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path} is not a whole HDF5 file with the datasets vectors and image_names: {error}"
        ) from error
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise ValueError(f"{path} has vectors of shape {vectors.shape} and {len(names)} names.")
    texts = tuple(_text(name) for name in names.tolist())
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise ValueError(f"{path}: the descriptor of {texts[int(finite.argmin())]} is not finite.")
    return NamedDescriptors(texts, vectors.astype(np.float32))


def _text(name: bytes | str) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else name
