"""Repair: say what is damaged and what can be done, or do it."""

from __future__ import annotations

from dataclasses import dataclass

from active_indexing.store.archive import Store
from active_indexing.store.verify import Damage, verify


@dataclass(frozen=True)
class Repair:
    """What became, or would become, of something that is damaged.

    Attributes:
        damage: what is wrong, and its remedy.
        done: whether it was mended now.
    """

    damage: Damage
    done: bool

    @property
    def possible(self) -> bool:
        """Whether the program can mend it; otherwise only people can, with a copy."""
        return self.damage.fix is not None


def repair(store: Store, *, apply: bool = False, progress: bool = False) -> list[Repair]:
    """Verify a store, and mend what can be mended.

    Args:
        store: from ``Store.writing``.
        apply: mend; otherwise nothing is changed, and what would be done is told.
        progress: show a bar with an estimate.

    Returns:
        All that is damaged; none: the store is whole.
    """
    repairs = []
    for damage in verify(store, progress=progress).damage:
        if apply and damage.fix is not None:
            damage.fix()
        repairs.append(Repair(damage, done=apply and damage.fix is not None))
    if apply and repairs:
        verify(store)  # what was mended counts as whole from now on
    return repairs
