"""How far long work is: a bar on a terminal, a line now and then in a file of messages."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 10.0
"""Between two lines at first; see ``LINES``."""

LINES = 60
"""A line is written when a sixtieth of the time has gone by again: a day of work is 500 lines, not 8,640."""


def progress_bar(iterable: Iterable[Any] | None = None, **settings: Any) -> tqdm:
    """A bar of tqdm with an estimate; where nobody watches, whole lines and no carriage returns.

    Args:
        iterable: what is gone through; ``None`` where ``update`` is called instead.
        **settings: of ``tqdm``: ``total``, ``initial``, ``desc``, ``unit``, ``disable`` ...
    """
    kind = tqdm if sys.stderr.isatty() else ProgressLines
    return kind(iterable, **settings)


class ProgressLines(tqdm):
    """The same as lines: the first after ``LINE_SECONDS``, the last at the end; none for work done before."""

    def __init__(self, iterable: Iterable[Any] | None = None, **settings: Any) -> None:
        self._last_told = settings.get("initial", 0)
        super().__init__(iterable, **{**settings, "mininterval": LINE_SECONDS, "miniters": 1})

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Write a line where a bar would be drawn again."""
        state = self.format_dict
        if state["n"] != self._last_told:
            self._last_told = state["n"]
            self.mininterval = max(LINE_SECONDS, state["elapsed"] / LINES)
            self.fp.write(self.format_meter(**{**state, "bar_format": _LINE, "ncols": None}).strip() + "\n")
            self.fp.flush()
        return True

    def clear(self, nolock: bool = False) -> None:
        """A line stays."""

    def close(self) -> None:
        """Say how it ended."""
        if not self.disable:
            self.display()
            self.sp = None  # what tqdm would end its bar with
            super().close()


_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed} so far, {remaining} left, {rate_fmt}{postfix}"
