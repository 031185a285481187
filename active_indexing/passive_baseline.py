"""The passive baseline of an active run: its images as they were, in the same index."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts import identity
from active_indexing.artefacts.arrays import packed, unpacked
from active_indexing.artefacts.journal import KeyedJournal, OtherRunError
from active_indexing.artefacts.run_log import note
from active_indexing.config import RunConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.evaluation.harness import EvaluationHarness, ProtectedImages
from active_indexing.evaluation.passive import PASSIVE_CSV, UnchangedImages, evaluate_passive
from active_indexing.evaluation.stage import QueryImage
from active_indexing.images.decoding import UnreadableImage
from active_indexing.index.preparation import PreparedIndex
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.progress import progress_bar
from active_indexing.parallel.resources import threads_for, workers_for
from active_indexing.parallel.threads import map_in_order
from active_indexing.records import Failure, SourceImage
from active_indexing.release.folder import FolderRelease
from active_indexing.release.image import ImageReleaser

FOLDER = "passive"
"""Folder beside the journals: unchanged images while they are evaluated."""


@dataclass(frozen=True)
class PassiveBaseline:
    """What a run tells about its images as they were.

    Attributes:
        content: for ``run.json``.
        failures: attacks that failed.
    """

    content: dict[str, Any] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


def passive_baseline(
    config: RunConfig,
    sources: Sequence[SourceImage],
    release: FolderRelease,
    evaluation: EvaluationHarness,
    descriptor: Descriptor,
    prepared: PreparedIndex,
    *,
    header: dict[str, Any],
    asked: list[QueryImage],
) -> PassiveBaseline:
    """Evaluate the inputs of an active run as a passive run would; nothing for other runs.

    Args:
        config: of the run.
        sources: its inputs, identified.
        release: its released images.
        evaluation: its evaluation.
        descriptor: on its device.
        prepared: the index with its references, and without the protected images.
        header: what the released files of a passive run depend on.
        asked: released images that the run evaluates.
    """
    csv, folder = config.output_dir / PASSIVE_CSV, release.journal_folder / FOLDER
    wanted = config.active and config.evaluation.baseline and config.evaluation.eval_retrieval
    shutil.rmtree(folder, ignore_errors=True)  # of a killed run
    if not (wanted and asked):
        csv.unlink(missing_ok=True)
        return PassiveBaseline()
    images = _inputs(sources, release)
    queries = [
        QueryImage(source.id, folder / name, source.id, source.sha256) for source, name in images.values()
    ]
    fingerprint = identity.fingerprint([header, [(query.id, query.version) for query in queries]])
    releaser = ImageReleaser(
        replace(config.release, active=False), config.activation, descriptor, prepared.index, folder
    )
    unchanged = UnchangedImages(
        ProtectedImages(queries, fingerprint, release.journal_folder),
        {id_: source.path for id_, (source, _) in images.items()},
        partial(_prepare, config, header, releaser, prepared.index, images, release.journal_folder),
    )
    workers, threads = workers_for(config.workers), threads_for(config.workers)
    try:
        table, failures = evaluate_passive(
            evaluation, unchanged, asked, csv, workers=workers, threads=threads
        )
    except _NotCopied as error:
        warnings.warn(f"no passive baseline: {error}", stacklevel=2)
        csv.unlink(missing_ok=True)
        return PassiveBaseline()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return PassiveBaseline({"passive_retrieval": table}, failures)


class _NotCopied(ValueError):
    """FAISS can't copy an index of this kind."""


def _inputs(sources: Sequence[SourceImage], release: FolderRelease) -> dict[int, tuple[SourceImage, str]]:
    """Id -> (input, name of its file) of everything released whose input is still in the folder."""
    keys = {source.key: source for source in sources}
    found: dict[int, tuple[SourceImage, str]] = {}
    for source, released in release.items():
        if released.entries is not None and source.key in keys and source.id not in found:
            # Its ending is the format that the input can be released in.
            name = f"{source.id}{Path(released.row.released).suffix}"
            found[source.id] = keys[source.key], name
    return found


def _prepare(
    config: RunConfig,
    header: dict[str, Any],
    releaser: ImageReleaser,
    references: VectorIndex,
    images: dict[int, tuple[SourceImage, str]],
    journals: Path,
    todo: list[QueryImage],
) -> VectorIndex:
    """Write the files of the queries; the index of references and of what a passive run would add."""
    try:
        index = references.copy()
    except ValueError as error:
        raise _NotCopied(str(error)) from error
    asked = {query.id for query in todo}
    with _journal(journals / f"{FOLDER}.jsonl", header) as journal:

        def entries(image: tuple[SourceImage, str]) -> np.ndarray | None:
            source, name = image
            item = journal.get(f"{source.id} {source.sha256}")
            if item is not None and source.id not in asked:
                return unpacked(item["entries"])
            file = name if source.id in asked or config.release.entries > 1 else None
            began = time.perf_counter()
            try:
                found = releaser.unchanged(source, file)
            except UnreadableImage:  # gone since it was released; its query will say so
                return None
            if source.id not in asked:
                (journals / FOLDER / name).unlink(missing_ok=True)
            seconds = round(time.perf_counter() - began, 3)
            note("image", stage="passive", image=source.id, source=str(source.path), seconds=seconds)
            return found

        bar = progress_bar(images.values(), desc="passive", unit="img", disable=not config.verbose)
        for (source, _), found in zip(
            images.values(), map_in_order(entries, bar, threads_for(config.workers)), strict=True
        ):
            if found is not None:
                key = f"{source.id} {source.sha256}"
                if key not in journal:
                    journal.put(key, {"entries": packed(found)})
                index.add(found, np.full(len(found), source.id))
    return index


def _journal(path: Path, header: dict[str, Any]) -> KeyedJournal:
    try:
        return KeyedJournal(path, header)
    except OtherRunError:
        return KeyedJournal(path, header, fresh=True)
