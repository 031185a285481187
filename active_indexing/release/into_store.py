"""Release into a store: what is there already is recognised, and every image is finished with its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts.atomic import remove_leftovers, unlink
from active_indexing.artefacts.identity import sha256_bytes, sha256_file
from active_indexing.images import decoding
from active_indexing.images.inventory import id_of_sha256
from active_indexing.parallel.progress import progress_bar
from active_indexing.parallel.threads import map_as_done
from active_indexing.records import ManifestRow, SourceImage
from active_indexing.release.image import ImageReleaser
from active_indexing.release.names import released_names
from active_indexing.release.signing import Sign, SigningError
from active_indexing.store.archive import RELEASED_FOLDER, Store, free_name
from active_indexing.store.rows import RELEASED, Manifest, NewImage, StoredImage

_MEASURED = {"id", "source", "released", "status", "reason", "width", "height", "psnr", "ssim", "linf"}


@dataclass
class StoreRelease:
    """What became of the images of one release.

    Attributes:
        released: new rows of this release.
        known: (path, row) of sources that were released before, and of files that are released files
            themselves.
        removed: (path, row) of sources that were taken down; they are not released again.
        skipped: (path, reason) of images that could not be released.
    """

    released: list[StoredImage] = field(default_factory=list)
    known: list[tuple[Path, StoredImage]] = field(default_factory=list)
    removed: list[tuple[Path, StoredImage]] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def release_into_store(
    store: Store,
    sources: Sequence[SourceImage],
    releaser: ImageReleaser,
    describe: Callable[[np.ndarray], np.ndarray],
    *,
    contents: Mapping[Path, bytes] | None = None,
    save_format: str,
    settings: dict[str, Any],
    threads: int,
    progress: bool,
    sign: Sign | None = None,
) -> StoreRelease:
    """Release what is new among some images; killed at any point, the same call completes it.

    The row of an image is written when its file is on the disk; a file without a row belongs to nobody, and
    the next release writes it anew.

    Args:
        store: from ``Store.writing``.
        sources: images; their ids are made anew, from their bytes.
        releaser: writes into the store's folder of released files.
        describe: (H, W, 3) uint8 sRGB to (D,) float32.
        contents: path of a source to the bytes of its file, of images in memory; others are read.
        save_format: ``png``, ``jpeg``, ``webp`` or ``same``.
        settings: of the run, kept in the database.
        threads: images in work at the same time.
        progress: show a bar with an estimate.
        sign: signs every file before its row is written.
    """
    outcome = StoreRelease()
    known = contents or {}
    todo = _new_sources(store, sources, known, outcome)
    if not todo:
        return outcome
    names = _names(store, [source for source, _ in todo], save_format)
    folders = {(store.folder / RELEASED_FOLDER / name).parent for some in names.values() for name in some}
    remove_leftovers(folders)
    run = store.database.begin_run(settings)

    def one(work: tuple[SourceImage, str]) -> tuple[Path, NewImage | str]:
        source, sha256 = work
        content = known.get(source.path)
        released = releaser.release(source, names[source.id], content)
        if released.entries is None:
            return source.path, released.row.reason
        if content is None and sha256_file(source.path) != sha256:
            return source.path, "it was changed while it was released; run the command again"
        path = store.folder / released.row.released
        manifest = None
        if sign is not None:
            try:
                manifest = sign(
                    path, source.path if content is None else None, describe(decoding.read(path).srgb)
                )
            except SigningError as error:
                unlink(path)  # nobody shall publish it unsigned
                return source.path, f"it can't be signed: {error}"
        return source.path, new_image(
            released.row, sha256, released.row.released, path, released.entries, describe, manifest
        )

    with progress_bar(total=len(todo), desc="release", unit="img", disable=not progress) as bar:
        for path, made in map_as_done(one, todo, threads):
            if isinstance(made, str):
                outcome.skipped.append((path, made))
            else:
                store.append(run, [made])
                outcome.released += store.database.images([made.id])
            bar.update()
    store.database.note_failures(run, [(str(path), reason) for path, reason in outcome.skipped])
    store.save_cache_if_due()
    return outcome


def new_image(
    row: ManifestRow,
    source_sha256: str,
    released: str,
    path: Path,
    entries: np.ndarray,
    describe: Callable[[np.ndarray], np.ndarray],
    manifest: Manifest | None = None,
) -> NewImage:
    """What the store is told of a released image; the file is read back for it.

    Args:
        row: its line of the manifest.
        source_sha256: of its source.
        released: path of the released file for the row, see :class:`NewImage`.
        path: where the released file is now.
        entries: (K, D) float32 that the index will remember.
        describe: (H, W, 3) uint8 sRGB to (D,) float32.
        manifest: that the file carries.
    """
    content = path.read_bytes()
    further = {name: getattr(row, name) for name in ManifestRow.columns() if name not in _MEASURED}
    return NewImage(
        id=id_of_sha256(source_sha256),
        source=row.source,
        source_sha256=source_sha256,
        released=released,
        released_sha256=sha256_file(path),
        size=len(content),
        width=int(row.width or 0),
        height=int(row.height or 0),
        psnr=float(row.psnr or 0),
        ssim=float(row.ssim or 0),
        linf=float(row.linf or 0),
        quality=further | {"notes": row.reason},
        descriptor=describe(decoding.read_bytes(content).srgb),
        entries=entries,
        manifest=manifest,
    )


def _new_sources(
    store: Store, sources: Sequence[SourceImage], contents: Mapping[Path, bytes], outcome: StoreRelease
) -> list[tuple[SourceImage, str]]:
    """(source with the id of its content, SHA-256) of what is new; the rest is told in the outcome."""
    todo: dict[str, SourceImage] = {}
    for source in sources:
        try:
            content = contents.get(source.path)
            sha256 = sha256_file(source.path) if content is None else sha256_bytes(content)
        except OSError as error:
            outcome.skipped.append((source.path, f"it can't be read ({error.strerror})"))
            continue
        known = store.database.find("source_sha256", sha256) or store.database.find("released_sha256", sha256)
        if known is not None:
            told = outcome.known if known.status == RELEASED else outcome.removed
            told.append((source.path, known))
        elif sha256 in todo:
            outcome.skipped.append((source.path, f"the same file as {todo[sha256].path}"))
        else:
            todo[sha256] = replace(source, id=id_of_sha256(sha256))
    return [(source, sha256) for sha256, source in todo.items()]


def _names(store: Store, sources: Sequence[SourceImage], save_format: str) -> dict[int, list[str]]:
    """Names for released files, below the store's folder for them; none of them is in a row."""
    wanted = released_names(sources, {}, save_format)
    return {
        image: [free_name(store.database, name, image) for name in names] for image, names in wanted.items()
    }
