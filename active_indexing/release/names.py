"""Names reserved for released files."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from active_indexing.images.encoding import ENDINGS, format_of
from active_indexing.records import SourceImage


def released_names(
    sources: Iterable[SourceImage], taken: dict[int, list[str]], save_format: str = "png"
) -> dict[int, list[str]]:
    """Names reserved for the released files below ``imgs/``.

    Each input has a name in its format: its own, with another ending if its own stands for another format.
    Inputs of one folder that would share a name keep their endings (``a.jpg`` and ``a.webp`` become
    ``a.jpg.png`` and ``a.webp.png``). Unless the format is PNG, a second name is reserved for a picture that
    turns out not to fit in the format and is released as PNG: its own with ``.png`` behind it, or its own if
    that stands for PNG. Names compare without case and Unicode form, as on some file systems, and a file
    never takes the name of a folder.

    Args:
        sources: all inputs.
        taken: key -> names of images released earlier; they keep their names, and nobody else gets them.
        save_format: ``png``, ``jpeg``, ``webp``, or ``same``: the format that the input's name stands for.

    Returns:
        key -> one or two names, of ``sources`` and ``taken``.
    """
    sources = list(sources)
    pending = [source for source in sources if source.key not in taken]
    formats = {source.key: _format(source.name, save_format) for source in pending}
    plain = {source.key: _with_ending(source.name, formats[source.key]) for source in pending}
    reserved = [name for names in taken.values() for name in names]
    count = Counter(_folded(name) for name in [*plain.values(), *reserved])
    used = {_folded(name) for name in reserved}
    used |= {_folded(str(folder)) for source in sources for folder in PurePosixPath(source.name).parents}
    names = dict(taken)
    # Inputs that keep their ending first: each has a right to its own name.
    for source in sorted(pending, key=lambda source: source.name != plain[source.key]):
        name, ending = plain[source.key], ENDINGS[formats[source.key]][0]
        if name != source.name and count[_folded(name)] > 1:
            name = source.name + ending
        names[source.key] = [_reserve(used, name, f"{source.name}.{source.key}{ending}")]
    for source in sorted(pending, key=lambda source: format_of(source.name) != "png"):
        if formats[source.key] != "png":
            own = source.name if format_of(source.name) == "png" else source.name + ".png"
            names[source.key].append(_reserve(used, own, f"{source.name}.{source.key}.png"))
    return names


def _format(name: str, save_format: str) -> str:
    return format_of(name) or "png" if save_format == "same" else save_format


def _with_ending(name: str, format: str) -> str:
    if format_of(name) == format:
        return name
    return PurePosixPath(name).with_suffix(ENDINGS[format][0]).as_posix()


def _reserve(used: set[str], name: str, otherwise: str) -> str:
    """The name, or the other one if it is used; from now on it is used."""
    chosen = otherwise if _folded(name) in used else name
    used.add(_folded(chosen))
    return chosen


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
