"""Edits that copies undergo, behind one registry; the only importer of augly."""

from active_indexing.attacks.failure import AttackFailed
from active_indexing.attacks.jobs import AttackJob, AttackResult
from active_indexing.attacks.registry import RANDOM_CHAIN, Attack, attacks_2, default_attacks
from active_indexing.attacks.screenshots import check_template
from active_indexing.parallel.processes import AttackPool

__all__ = [
    "RANDOM_CHAIN",
    "Attack",
    "AttackFailed",
    "AttackJob",
    "AttackPool",
    "AttackResult",
    "attacks_2",
    "check_template",
    "default_attacks",
]
