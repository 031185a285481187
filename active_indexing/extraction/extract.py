"""Descriptors of many images, streamed to the disk; a killed extraction goes on where it stopped.

Work in progress lies in ``<output_dir>/in_progress``: the rows so far, and a journal with one line per
batch. The files under their final names appear when all is done::

    fts.pth or fts.npy   (N, D) float32, one unit-norm row per image that could be read
    fts.hdf5             the same for the programs of the Image Similarity Challenge: ``vectors``, and
                         ``image_names`` as ground truths have them, without folder and ending; or
                         ``fts_0.hdf5``, ``fts_1.hdf5`` ..., which ``fts.hdf5`` then stands for
    filenames.txt        line i names the image of row i
    skipped.csv          the images that could not be read, with reasons
    fts.json             what made it; written last, so that it stands for a whole extraction
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from active_indexing.artefacts.atomic import atomic_file, write_json
from active_indexing.artefacts.journal import Journal, OtherRunError
from active_indexing.artefacts.versions import versions
from active_indexing.descriptors.batching import describe_stack
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.extraction.named_descriptors import (
    NamedDescriptors,
    challenge_ids,
    parts_of,
    write_hdf5,
)
from active_indexing.extraction.network_inputs import Prepared, stream_network_inputs
from active_indexing.images.listing import ImageCollection
from active_indexing.parallel.progress import progress_bar
from active_indexing.parallel.threads import groups_of

FORMATS = ("pth", "npy", "hdf5")
_IN_PROGRESS = "in_progress"


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What an extraction left.

    Attributes:
        path: the matrix of descriptors.
        count: rows.
        dim: columns.
        skipped: images left out; ``skipped.csv`` lists them.
        existed: it was there already, made from the same images by the same descriptor.
    """

    path: Path
    count: int
    dim: int
    skipped: int
    existed: bool


def extract(
    source: ImageCollection,
    descriptor: Descriptor,
    output_dir: Path,
    *,
    batch_size: int = 256,
    workers: int = 0,
    file_format: str = "pth",
    part_images: int = 0,
    progress: bool = False,
) -> Extraction:
    """Describe every image of a source.

    The result does not depend on the number of workers, nor on where an earlier extraction was killed.

    Args:
        source: images.
        descriptor: on its device.
        output_dir: made when missing.
        batch_size: images per pass of the network.
        workers: processes that decode and preprocess; 0: none.
        file_format: ``pth`` (a torch tensor), ``npy`` or ``hdf5``.
        part_images: rows of each HDF5 file; 0 writes one file.
        progress: show a progress bar.

    Returns:
        What was written, or found written by the same settings.

    Raises:
        ValueError: if an argument is out of its range, no image could be read, ``output_dir`` holds an
            extraction of something else, or two names of an HDF5 file are the same.
        BlockingIOError: if another extraction writes there.
    """
    if part_images < 0 or (part_images and file_format != "hdf5"):
        raise ValueError(f"parts are of HDF5 files and hold at least 1 image, got {part_images}.")
    if batch_size < 1 or workers < 0 or file_format not in FORMATS:
        raise ValueError(
            f"expected batch_size >= 1, workers >= 0 and a format of {', '.join(FORMATS)}; "
            f"got {batch_size}, {workers} and {file_format!r}."
        )
    made_from = {
        "descriptor": descriptor.name,
        "descriptor_fingerprint": descriptor.fingerprint,
        "dim": descriptor.dim,
        "source": source.identity,
    }
    if part_images:
        made_from["part_images"] = part_images
    path = output_dir / f"fts.{file_format}"
    found = _finished(path, made_from)
    if found is not None:
        return found
    work = output_dir / _IN_PROGRESS
    try:
        journal = Journal(work / "journal.jsonl", made_from)
    except OtherRunError as error:
        raise ValueError(
            f"{work} holds a started extraction of something else ({error}); delete it."
        ) from error
    with journal, open(work / "descriptors.f32", "a+b") as rows:
        _describe(source, descriptor, journal, rows, batch_size, workers, progress)
        result = _finish(path, made_from, journal.path, rows)
    shutil.rmtree(work)
    if result.count == 0:
        raise ValueError(
            f"none of the {result.skipped:,} images could be read; see {path.parent / 'skipped.csv'}."
        )
    return result


def _finished(path: Path, made_from: dict[str, Any]) -> Extraction | None:
    """An earlier extraction with these settings; one with others is never overwritten."""
    side_car = path.with_suffix(".json")
    if not side_car.is_file():
        return None
    content = json.loads(side_car.read_text())
    if content.get("file") != path.name or any(content.get(key) != made_from[key] for key in made_from):
        raise ValueError(
            f"{path.parent} holds an extraction of other images, or by other settings; delete {side_car} "
            "to replace it, or choose another --output_dir."
        )
    shutil.rmtree(path.parent / _IN_PROGRESS, ignore_errors=True)
    count, skipped = content["count"], content["skipped"]
    return Extraction(path=path, count=count, dim=content["dim"], skipped=skipped, existed=True)


def _describe(
    source: ImageCollection,
    descriptor: Descriptor,
    journal: Journal,
    rows: BinaryIO,
    batch_size: int,
    workers: int,
    progress: bool,
) -> None:
    """Append the descriptors of all images that are not in the journal yet."""
    images = described = behind = 0
    for record in _records(journal.path):
        images += len(record["names"]) + len(record["skipped"])
        described += len(record["names"])
        behind = record["progress"]
    rows.truncate(4 * descriptor.dim * described)  # rows of a batch that did not reach the journal
    prepared = stream_network_inputs(source.items(images), descriptor.preprocessing, workers)
    with progress_bar(
        total=source.total,
        initial=behind,
        unit=source.unit,
        unit_scale=source.unit == "B",
        desc="descriptors",
        disable=not progress,
    ) as bar:
        for batch in groups_of(batch_size, prepared):
            record, descriptors = _describe_batch(batch, descriptor)
            rows.write(descriptors.tobytes())
            rows.flush()
            os.fsync(rows.fileno())
            journal.append(record)
            bar.update(record["progress"] - bar.n)


def _describe_batch(batch: Sequence[Prepared], descriptor: Descriptor) -> tuple[dict[str, Any], np.ndarray]:
    """The journal's line of a batch, and its (n, D) descriptors."""
    readable = [item for item in batch if item.pixels is not None]
    skipped = [(item.name, item.reason) for item in batch if item.pixels is None]
    descriptors = _descriptors([item.pixels for item in readable if item.pixels is not None], descriptor)
    finite = np.isfinite(descriptors).all(axis=1)
    names = [item.name for item, good in zip(readable, finite, strict=True) if good]
    skipped += [
        (item.name, "its descriptor is not finite")
        for item, good in zip(readable, finite, strict=True)
        if not good
    ]
    record = {"names": names, "skipped": skipped, "progress": batch[-1].progress}
    return record, descriptors[finite]


def _descriptors(inputs: list[np.ndarray], descriptor: Descriptor) -> np.ndarray:
    """(n, D) float32 of n network inputs; inputs of different sizes go through the network one by one."""
    if not inputs:
        return np.empty((0, descriptor.dim), np.float32)
    stacks = [inputs] if len({pixels.shape for pixels in inputs}) == 1 else [[pixels] for pixels in inputs]
    return np.concatenate([describe_stack(np.stack(stack), descriptor) for stack in stacks])


def _finish(path: Path, made_from: dict[str, Any], journal: Path, rows: BinaryIO) -> Extraction:
    """Write the files under their final names, ``fts.json`` last; without a row only ``skipped.csv``."""
    count = sum(len(record["names"]) for record in _records(journal))
    skipped = sum(len(record["skipped"]) for record in _records(journal))
    with atomic_file(path.parent / "skipped.csv") as file:
        file.write(_csv_lines([("path", "reason")]))
        for record in _records(journal):
            file.write(_csv_lines(record["skipped"]))
    if count:
        with atomic_file(path.parent / "filenames.txt") as file:
            for record in _records(journal):
                file.write(b"".join(os.fsencode(name) + b"\n" for name in record["names"]))
        shape = count, made_from["dim"]
        _write_matrix(path, Path(rows.name), shape, journal, made_from.get("part_images", 0))
        side_car = {"file": path.name, "count": count, "skipped": skipped, **made_from}
        write_json(path.with_suffix(".json"), {**side_car, "versions": versions()})
    return Extraction(path=path, count=count, dim=made_from["dim"], skipped=skipped, existed=False)


def _write_matrix(path: Path, rows: Path, shape: tuple[int, int], journal: Path, part_images: int) -> None:
    """The rows as one file, without holding them in memory."""
    if path.suffix == ".hdf5":
        ids = challenge_ids([name for record in _records(journal) for name in record["names"]])
        whole = NamedDescriptors(ids, np.memmap(rows, np.dtype("<f4"), mode="r", shape=shape))
        for part, descriptors in parts_of(path, whole, part_images):
            write_hdf5(part, descriptors)
        return
    with atomic_file(path) as file:
        if path.suffix == ".npy":
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            with open(rows, "rb") as content:
                shutil.copyfileobj(content, file, 1 << 20)
        else:
            mapped = np.memmap(rows, np.dtype("<f4"), mode="c", shape=shape)
            torch.save(torch.from_numpy(mapped), file)


def _csv_lines(rows: list[tuple[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return os.fsencode(text.getvalue())


def _records(journal: Path) -> Iterator[dict[str, Any]]:
    """The journal's lines after its header."""
    with open(journal, "rb") as file:
        for line in islice(file, 1, None):
            yield json.loads(line)
