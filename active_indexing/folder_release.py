"""Release of a whole folder: several images at once, every finished image on record, resumable."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from active_indexing.activation import Step
from active_indexing.concurrency import map_as_done
from active_indexing.journal import Journal
from active_indexing.records import ManifestRow, SourceImage, released_names
from active_indexing.release import Released, Releaser

IMAGES = "imgs"
"""Folder of released files below the output folder."""


class FolderRelease:
    """The released images of one run, on disk and in the journal.

    Args:
        journal: record of finished images.
        output_dir: where ``imgs/`` is.
        sources: the inputs, in order.
    """

    def __init__(self, journal: Journal, output_dir: Path, sources: Sequence[SourceImage]) -> None:
        self._journal = journal
        self._output_dir = output_dir
        self._sources = sources
        self._places = journal.places("id")

    def run(self, releaser: Releaser, *, threads: int, progress: bool) -> None:
        """Release every input that is not on record yet, or has changed since.

        Args:
            releaser: does one image.
            threads: images in work at the same time.
            progress: show a bar with an estimate.
        """
        recorded = {
            s.id: self._journal.item_at(self._places[s.id]) for s in self._sources if s.id in self._places
        }
        todo = [s for s in self._sources if s.id not in recorded or not self._still_valid(s, recorded[s.id])]
        taken = {id_: _name(item) for id_, item in recorded.items() if _name(item)}
        names = released_names(self._sources, taken)

        def one(source: SourceImage) -> tuple[SourceImage, Released]:
            return source, releaser.release(source, names[source.id])

        done = len(self._sources) - len(todo)
        with tqdm(
            total=len(self._sources), initial=done, desc="release", unit="img", disable=not progress
        ) as bar:
            for source, released in map_as_done(one, todo, threads):
                self._journal.append(self._item(source, released))
                bar.update()
        self._places = self._journal.places("id")

    def items(self) -> Iterator[tuple[SourceImage, Released]]:
        """Every input with what became of it, in the order of the inputs."""
        for source in self._sources:
            item = self._journal.item_at(self._places[source.id])
            packed = item["descriptor"]
            descriptor = None if packed is None else np.frombuffer(base64.b64decode(packed), dtype=np.float32)
            yield source, Released(ManifestRow(**item["row"]), descriptor)

    def shipped(self) -> Iterator[tuple[int, Path]]:
        """(id, path of the released file) of every released image, in the order of the inputs."""
        for source, released in self.items():
            if released.row.released:
                yield source.id, self._output_dir / released.row.released

    def state(self) -> list[Any]:
        """What tells these released files from others: id, size and time of each."""
        return [[id_, _stamp(path)] for id_, path in self.shipped()]

    def _item(self, source: SourceImage, released: Released) -> dict[str, Any]:
        path = self._output_dir / released.row.released
        packed = (
            None if released.descriptor is None else base64.b64encode(released.descriptor.tobytes()).decode()
        )
        return {
            "id": source.id,
            "row": asdict(released.row),
            "descriptor": packed,
            "input": _stamp(source.path),
            "output": _stamp(path) if released.row.released else None,
        }

    def _still_valid(self, source: SourceImage, item: dict[str, Any]) -> bool:
        if item["input"] != _stamp(source.path):
            return False
        released = item["row"]["released"]
        return not released or item["output"] == _stamp(self._output_dir / released)


class StepLog:
    """Appends every n-th optimisation step to ``activation_log.jsonl``.

    Args:
        path: the log.
        every: n.
    """

    def __init__(self, path: Path, every: int) -> None:
        self._path = path
        self._every = every

    def __call__(self, image_id: int, step: Step) -> None:
        """Write one step of one image."""
        if (step.gd_it + 1) % self._every == 0:
            line = json.dumps({"id": image_id, **asdict(step)}) + "\n"
            with open(self._path, "a") as file:  # one write a line: threads do not mix
                file.write(line)


def _name(item: dict[str, Any]) -> str:
    return item["row"]["released"].removeprefix(f"{IMAGES}/")


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
