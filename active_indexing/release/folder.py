"""Release of a whole folder: several images at once, every finished image on record, resumable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from active_indexing.artefacts.arrays import packed, unpacked
from active_indexing.artefacts.identity import file_state, is_unchanged
from active_indexing.artefacts.journal import KeyedJournal
from active_indexing.parallel.threads import map_as_done
from active_indexing.records import ManifestRow, SourceImage
from active_indexing.release.image import ImageReleaser, Released
from active_indexing.release.names import released_names

IMAGES = "imgs"
"""Folder of released files below the output folder."""

NAMES = "names"
"""Key of the journal's item with (id, name below ``imgs/``) of every file that may have been written."""

_REMOVED = "removed"


class FolderRelease:
    """The released images of one run, on disk and in the journal.

    Args:
        journal: record of finished images.
        output_dir: where ``imgs/`` is.
        sources: the inputs, in order.
        save_format: ``png``, ``jpeg``, ``webp`` or ``same``.
    """

    def __init__(
        self,
        journal: KeyedJournal,
        output_dir: Path,
        sources: Sequence[SourceImage],
        save_format: str = "png",
    ) -> None:
        self._journal = journal
        self._output_dir = output_dir
        self._sources = sources
        self._save_format = save_format

    def run(self, releaser: ImageReleaser, *, threads: int, progress: bool, removed: bool = False) -> None:
        """Release every input that is not on record yet, or has changed since.

        Inputs that were skipped are tried again: the reason may be gone.

        Args:
            releaser: does one image.
            threads: images in work at the same time.
            progress: show a bar with an estimate.
            removed: released files that are gone were removed on purpose, and are not made again.
        """
        names = self._names()
        todo = [source for source in self._sources if not self._is_done(source, removed)]

        def one(source: SourceImage) -> tuple[SourceImage, dict[str, Any]]:
            before = file_state(source.path)
            released = releaser.release(source, names[source.id])
            self._remove_other(source, released.row.released)
            return source, self._item(released, before)

        done = len(self._sources) - len(todo)
        with tqdm(
            total=len(self._sources), initial=done, desc="release", unit="img", disable=not progress
        ) as bar:
            for source, item in map_as_done(one, todo, threads):
                if item != self._without_key(source):  # skipped again for the same reason
                    self._journal.put(str(source.id), item)
                bar.update()

    def items(self) -> Iterator[tuple[SourceImage, Released]]:
        """Every input with what became of it, in the order of the inputs."""
        for source, item in self._recorded():
            row = replace(ManifestRow(**item["row"]), source=str(source.path))
            yield source, Released(row, unpacked(item["entries"]))

    def shipped(self) -> Iterator[tuple[int, Path, str]]:
        """(id, path, SHA-256) of every released file, in the order of the inputs."""
        for source, item in self._recorded():
            if item["output"] is not None:
                yield source.id, self._output_dir / item["row"]["released"], item["output"]["sha256"]

    def inputs(self) -> list[tuple[str, str]]:
        """(name, SHA-256) of every input that was released: what the index holds besides its references."""
        return [
            (source.name, item["input"]["sha256"])
            for source, item in self._recorded()
            if item["output"] is not None
        ]

    @property
    def journal_folder(self) -> Path:
        """Where the journals are."""
        return self._journal.path.parent

    @property
    def removed_for(self) -> str | None:
        """The evaluation after which the released files were removed, if they were."""
        item = self._journal.get(_REMOVED)
        return None if item is None else item["evaluation"]

    def remove(self, evaluation: str) -> None:
        """Remove the released files.

        Args:
            evaluation: identity of the evaluation that is finished and no longer needs them.
        """
        if self.removed_for != evaluation:
            self._journal.put(_REMOVED, {"evaluation": evaluation})
        remove_images(self._output_dir, [_name(item) for _, item in self._recorded() if _name(item)])

    def _recorded(self) -> Iterator[tuple[SourceImage, dict[str, Any]]]:
        for source in self._sources:
            item = self._journal.get(str(source.id))
            if item is not None:
                yield source, item

    def _names(self) -> dict[int, list[str]]:
        """Names of released files, on record before any is written, so that no other input ever gets them."""
        taken: dict[int, list[str]] = {}
        for image, name in (self._journal.get(NAMES) or {NAMES: []})[NAMES]:
            taken.setdefault(image, []).append(name)
        names = released_names(self._sources, taken, self._save_format)
        if names != taken:
            pairs = [(image, name) for image, reserved in names.items() for name in reserved]
            self._journal.put(NAMES, {NAMES: pairs})
        return names

    def _remove_other(self, source: SourceImage, released: str) -> None:
        """Remove what an input left under its other name when its contents were different."""
        before = _name(self._journal.get(str(source.id)) or {"row": {"released": ""}})
        if before and released and released != f"{IMAGES}/{before}":
            remove_images(self._output_dir, [before])

    def _item(self, released: Released, before: dict[str, Any] | None) -> dict[str, Any]:
        name, entries = released.row.released, packed(released.entries)
        output = file_state(self._output_dir / name) if name else None
        return {"row": asdict(released.row), "entries": entries, "input": before, "output": output}

    def _without_key(self, source: SourceImage) -> dict[str, Any]:
        item = self._journal.get(str(source.id)) or {}
        return {name: value for name, value in item.items() if name != "key"}

    def _is_done(self, source: SourceImage, removed: bool) -> bool:
        item = self._journal.get(str(source.id))
        if item is None or item["output"] is None or not is_unchanged(source.path, item["input"]):
            return False
        path = self._output_dir / item["row"]["released"]
        return is_unchanged(path, item["output"]) or (removed and not path.exists())


def remove_images(output_dir: Path, names: Iterable[str]) -> None:
    """Remove released files and the folders that this leaves empty.

    Args:
        output_dir: where ``imgs/`` is.
        names: of released files below ``imgs/``.
    """
    for name in names:
        path = Path(IMAGES, name)
        (output_dir / path).unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or gone
            for parent in path.parents[:-1]:
                (output_dir / parent).rmdir()


def _name(item: dict[str, Any]) -> str:
    return str(item["row"]["released"]).removeprefix(f"{IMAGES}/")
