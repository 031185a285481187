"""The images that a command asks about: files, folders, lists of files, standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from active_indexing.images.listing import find_images

STANDARD_INPUT = "-"


def query_paths(arguments: Sequence[str], lists: Sequence[Path] = ()) -> Iterator[Path]:
    """Paths of the images, in the order of the arguments; ``-`` reads paths from standard input, one a line.

    Args:
        arguments: image files, folders (searched recursively), and ``-``.
        lists: text files with one path a line; paths are relative to the list.

    Raises:
        FileNotFoundError: a folder or a list that is not there.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            yield from (Path(line.rstrip("\r\n")) for line in sys.stdin if line.strip())
        elif Path(argument).is_dir():
            yield from find_images(Path(argument))
        else:
            yield Path(argument)  # one that is not there is told as an unreadable query
    for each in lists:
        if not each.is_file():
            raise FileNotFoundError(f"no list {each}; give a text file with the path of one image a line.")
        lines = each.read_text("utf-8", "surrogateescape").splitlines()
        yield from (each.parent / line.strip() for line in lines if line.strip())
