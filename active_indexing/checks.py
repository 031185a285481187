"""Settings: the description of each, ranges and choices, with errors that name the flag."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
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


def between(name: str, value: int, least: int, most: int) -> None:
    """Refuse a number that is too small or too large.

    Args:
        name: of the flag, without dashes.
        value: what was given.
        least: smallest that is allowed.
        most: largest that is allowed.

    Raises:
        ValueError: with the flag, the limits and what was given.
    """
    at_least(name, value, least)
    if value > most:
        raise ValueError(f"--{name} must be at most {most:,}, got {value:,}.")


def regular_file(path: Path, what: str, advice: str) -> None:
    """Refuse what is no file to be read, before it is opened: a named pipe would wait for ever.

    Args:
        path: of the file.
        what: it is, in words, e.g. ``weights file``.
        advice: what to do, e.g. ``check --model_path``.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: a folder, a pipe, a device, or a path that can't be followed.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"the {what} {path} does not exist; {advice}.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"the {what} {str(path)!r} can't be opened ({reason}); {advice}.") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise ValueError(f"the {what} {path} is {kind}, expected a regular file; {advice}.")
