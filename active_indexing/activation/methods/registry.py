"""The methods of activation by name."""

from __future__ import annotations

from active_indexing.activation.interface import Method
from active_indexing.activation.methods.published import published_results
from active_indexing.activation.methods.robust import robust

METHODS: dict[str, Method] = {"robust": robust, "published": published_results}


def activation_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ValueError: no such method.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; choose one of {', '.join(METHODS)}.")
    return METHODS[name]
