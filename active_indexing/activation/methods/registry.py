"""The methods of activation by name; a new one is a file beside this one and a line here."""

from __future__ import annotations

from typing import Any

from active_indexing.activation.config import ActivationConfig
from active_indexing.activation.interface import Method
from active_indexing.activation.methods import perceptual, published, robust
from active_indexing.registry import Registry


def _method(thing: Any) -> Method:
    """A plug-in's method, or the function that moves images."""
    if isinstance(thing, Method):
        return thing
    if callable(thing):
        return Method(thing)
    raise TypeError(f"it is a {type(thing).__name__}; expected a Method or a function (jobs, context)")


OWN = {"perceptual": perceptual.METHOD, "robust": robust.METHOD, "published": published.METHOD}
METHODS = Registry("method", OWN, group="active_indexing.methods", accept=_method)


def activation_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ValueError: no such method.
    """
    return METHODS[name]


def check_settings(config: ActivationConfig) -> str | None:
    """Refuse settings that can't be, also those that the chosen method makes no use of.

    Returns:
        What to tell about settings without use; ``None`` when there are none.

    Raises:
        ValueError: an unknown method, or a setting that some method could not do.
    """
    chosen = METHODS[config.method]
    ignored = chosen.ignored(config)
    owners = {name: method for name, method in OWN.items() if set(ignored) & method.settings}
    for method in {config.method: chosen, **owners}.values():
        method.check(config, None)
    if not ignored:
        return None
    flags = ", ".join(f"--{name}" for name in ignored)
    known = f" (known to --method {' and '.join(owners)})" if owners else ""
    return f"--method {config.method} makes no use of {flags}{known}: left out of account."
