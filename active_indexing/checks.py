"""Settings: the description of each, ranges and choices, with errors that name the flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any


def setting(default: Any, text: str, *, choices: Sequence[str] | None = None) -> Any:
    """A field of a frozen dataclass of settings, with all that a flag of the same name shows.

    Args:
        default: immutable.
        text: what it means and, as ``(default: ...)``, what ``None`` stands for.
        choices: words that are allowed, for the flag; the dataclass checks them with :func:`one_of`.
    """
    return field(default=default, metadata={"help": text, "choices": choices})


def at_least(name: str, value: int, least: int) -> None:
    """Refuse a number below the smallest.

    Args:
        name: of the flag, without dashes.
        value: what was given.
        least: smallest that is allowed.

    Raises:
        ValueError: with the flag, the limit and what was given.
    """
    if value < least:
        raise ValueError(f"--{name} must be at least {least}, got {value}.")


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a word that is none of the choices.

    Args:
        name: of the flag, without dashes.
        value: what was given.
        choices: what is allowed.

    Raises:
        ValueError: with the flag, the choices and what was given.
    """
    if value not in choices:
        raise ValueError(f"--{name} must be one of {', '.join(choices)}, got {value!r}.")
