"""Ranges and choices of settings, with errors that name the flag."""

from __future__ import annotations


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
