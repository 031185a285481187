"""Files in a store that belong to nobody: what a killed release, removal or rebuild left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from active_indexing.artefacts.atomic import is_temporary
from active_indexing.store import cache
from active_indexing.store.archive import RELEASED_FOLDER, Store


def leftovers(store: Store) -> Iterator[tuple[Path, str]]:
    """(path, what it is) of every such file; they do no harm."""
    for folder, _, names in os.walk(store.folder):
        for name in sorted(names):
            path = Path(folder, name)
            if is_temporary(path):
                yield path, "half-written, by a program that was killed"
    for folder, _, names in os.walk(store.folder / RELEASED_FOLDER):
        for name in sorted(names):
            path = Path(folder, name)
            if (
                not is_temporary(path)
                and store.database.find_name(path.relative_to(store.folder).as_posix()) is None
            ):
                yield path, "no row tells of it: a release or a removal was killed"
    newest = cache.newest(store.folder)
    for path in sorted((store.folder / cache.FOLDER).glob("*")):
        if not is_temporary(path) and (newest is None or path.stem != newest.path.stem):
            yield path, "an older index file"
