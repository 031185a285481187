"""Names to things: this package's own, those of plug-ins, and ``module:name`` for what is in no list.

A plug-in is an installed package with an entry point in a group of ours, e.g. in its ``pyproject.toml``::

    [project.entry-points."active_indexing.methods"]
    nudge = "my_package.nudge:METHOD"
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name.

    Args:
        kind: what they are called in errors, e.g. ``method``.
        own: this package's own, in the order in which they are listed.
        group: entry points of plug-ins; they never hide one of our own.
        accept: makes the thing from whatever a plug-in's name stands for; TypeError with the reason when it
            can't be one.
    """

    def __init__(
        self, kind: str, own: Mapping[str, T], *, group: str, accept: Callable[[Any], T] | None = None
    ) -> None:
        self._kind = kind
        self._own = own
        self._group = group
        self._accept = accept

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        return {each.name: each for each in entry_points(group=self._group) if each.name not in self._own}

    def __getitem__(self, name: str) -> T:
        """The thing of that name, or what ``module:name`` stands for.

        Raises:
            ValueError: no such name, or a plug-in that can't be loaded.
        """
        if name in self._own:
            return self._own[name]
        plugin = self._plugins.get(name)
        if plugin is None and ":" not in name:
            raise ValueError(
                f"unknown {self._kind} {name!r}; choose one of {', '.join(self)}, or module:name for one of "
                "your own."
            )
        return self._loaded(name, plugin.load if plugin else lambda: _found(name))

    def _loaded(self, name: str, load: Callable[[], Any]) -> T:
        try:
            thing = load()
            accepted: T = self._accept(thing) if self._accept else thing
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"the {self._kind} {name!r} can't be used: {error}") from error
        return accepted

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *self._plugins])

    def __len__(self) -> int:
        return len(self._own) + len(self._plugins)

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._plugins


def _found(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
