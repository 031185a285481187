"""Release of a whole folder: several images at once, every finished image on record, resumable."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from active_indexing.artefacts.arrays import packed, unpacked
from active_indexing.artefacts.identity import file_state, is_unchanged
from active_indexing.artefacts.journal import KeyedJournal
from active_indexing.artefacts.run_log import note
from active_indexing.parallel.progress import progress_bar
from active_indexing.parallel.threads import map_as_done
from active_indexing.records import ManifestRow, SourceImage
from active_indexing.release.image import ImageReleaser, Released
from active_indexing.release.names import released_names

IMAGES = "imgs"
"""Folder of released files below the output folder."""

NAMES = "names"
"""Key of the journal's item with (input's key, name below ``imgs/``) of every file that may be written."""

_REMOVED = "removed"
_CHANGED = "the file was changed while the run was going on; run the same command again"


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
        self._keys = {source.key for source in sources}
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
            began = time.perf_counter()
            item = made(source)
            seconds, row = round(time.perf_counter() - began, 3), item["row"]
            told = {"image": source.id, "source": row["source"], "status": row["status"]}
            note("image", stage="release", **told, reason=row["reason"], seconds=seconds)
            return source, item

        def made(source: SourceImage) -> dict[str, Any]:
            before = file_state(source.path)
            if before is not None and source.sha256 not in ("", before["sha256"]):
                row = ManifestRow(source.id, str(source.path), reason=_CHANGED)
                return self._item(Released(row, None), before)
            released = releaser.release(source, names[source.key])
            return self._item(released, before)

        done = len(self._sources) - len(todo)
        with progress_bar(
            total=len(self._sources), initial=done, desc="release", unit="img", disable=not progress
        ) as bar:
            for source, item in map_as_done(one, todo, threads):
                if item != self._without_key(source):  # skipped again for the same reason
                    self._journal.put(str(source.key), item)
                bar.update()

    def items(self) -> Iterator[tuple[SourceImage, Released]]:
        """Every input with what became of it, in the order of the inputs; then those that left the folder."""
        for source, item in self._recorded():
            row = replace(ManifestRow(**item["row"]), source=str(source.path))
            yield source, Released(row, unpacked(item["entries"]))

    def shipped(self, *, departed: bool = True) -> Iterator[tuple[int, Path, str]]:
        """(id, path, SHA-256) of a released file of every id, in the order of the inputs.

        Args:
            departed: also those whose input left the folder, where they are as they were written.
        """
        seen: set[int] = set()
        for source, item in self._recorded() if departed else self._current():
            path = self._output_dir / (item["row"]["released"] or ".")
            if item["output"] is None or source.id in seen:
                continue
            if source.key in self._keys or is_unchanged(path, item["output"]):
                seen.add(source.id)
                yield source.id, path, item["output"]["sha256"]

    def shipped_file(self, source: SourceImage) -> tuple[Path, str] | None:
        """Released file of an input and SHA-256 of the input; ``None`` of one that was not released."""
        item = self._journal.get(str(source.id))
        if item is None or item["output"] is None:
            return None
        return self._output_dir / item["row"]["released"], item["input"]["sha256"]

    def inputs(self) -> list[tuple[str, str]]:
        """(name, SHA-256) of every input in the index, a departed one by its path."""
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
        remove_images(self._output_dir, [_name(item) for _, item in self._current() if _name(item)])

    def _current(self) -> Iterator[tuple[SourceImage, dict[str, Any]]]:
        for source in self._sources:
            item = self._journal.get(str(source.key))
            if item is not None:
                yield source, item

    def _recorded(self) -> Iterator[tuple[SourceImage, dict[str, Any]]]:
        """The inputs, then what was released for inputs that left the folder or have other contents now."""
        yield from self._current()
        for key, item in released_items(self._journal):
            if key not in self._keys:
                name = item["row"]["source"]
                yield SourceImage(item["row"]["id"], Path(name), name, slot=key), item

    def _names(self) -> dict[int, list[str]]:
        """Names of released files, on record before any is written, so that no other input ever gets them."""
        taken: dict[int, list[str]] = {}
        for image, name in (self._journal.get(NAMES) or {NAMES: []})[NAMES]:
            if not self._is_free(image, name):
                taken.setdefault(image, []).append(name)
        names = released_names(self._sources, taken, self._save_format)
        if names != taken:
            pairs = [(image, name) for image, reserved in names.items() for name in reserved]
            self._journal.put(NAMES, {NAMES: pairs})
        return names

    def _is_free(self, key: int, name: str) -> bool:
        """Whether a name was reserved for contents that could not be released and are not there any more."""
        item = self._journal.get(str(key))
        skipped = item is not None and item["output"] is None
        return skipped and key not in self._keys and not (self._output_dir / IMAGES / name).exists()

    def _item(self, released: Released, before: dict[str, Any] | None) -> dict[str, Any]:
        name, entries = released.row.released, packed(released.entries)
        output = file_state(self._output_dir / name) if name else None
        return {"row": asdict(released.row), "entries": entries, "input": before, "output": output}

    def _without_key(self, source: SourceImage) -> dict[str, Any]:
        item = self._journal.get(str(source.key)) or {}
        return {name: value for name, value in item.items() if name != "key"}

    def _is_done(self, source: SourceImage, removed: bool) -> bool:
        item = self._journal.get(str(source.key))
        if item is None or item["output"] is None or not is_unchanged(source.path, item["input"]):
            return False
        path = self._output_dir / item["row"]["released"]
        return is_unchanged(path, item["output"]) or (removed and not path.exists())


def released_items(journal: KeyedJournal) -> Iterator[tuple[int, dict[str, Any]]]:
    """(key, item) of everything that was ever released, in the order in which it came first."""
    for key in journal.keys():
        item = journal.get(key) if key.isdecimal() else None
        if item is not None and item["output"] is not None:
            yield int(key), item


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
