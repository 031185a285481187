"""What a store says when it can't do what it was asked."""

from __future__ import annotations


class StoreError(ValueError):
    """A store that can't be used as asked; the text says what is wrong, and the way back."""


class StoreBusyError(StoreError):
    """Another program is writing to the store."""
