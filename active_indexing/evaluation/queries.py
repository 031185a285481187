"""Which images are attacked and asked about."""

from __future__ import annotations

from active_indexing.evaluation.config import EvaluationConfig
from active_indexing.evaluation.stage import QueryImage
from active_indexing.images.inventory import inventory
from active_indexing.records import NO_MATCH
from active_indexing.seeding import seed_for


def non_matching_queries(config: EvaluationConfig) -> list[QueryImage]:
    """The images that are in no index; none when copy detection is off or they were not given.

    Raises:
        FileNotFoundError: no such folder, or no image in it.
    """
    if config.query_nonmatch_dir is None or not (config.eval_icd and config.evaluates):
        return []
    queries = []
    for source in inventory(config.query_nonmatch_dir):
        status = source.path.stat() if source.path.exists() else None
        version = f"{status.st_size} {status.st_mtime_ns}" if status else "gone"
        # ids of references start at 0 and of protected images at 2**62: negative ones are free
        queries.append(QueryImage(-source.id, source.path, NO_MATCH, version))
    return queries


def drawn(queries: list[QueryImage], most: int | None, seed: int) -> list[QueryImage]:
    """Those with the smallest keys, drawn for their ids: a larger sample holds a smaller one.

    Args:
        queries: to draw from; their order stays.
        most: how many at most; ``None``: all.
        seed: the user's ``--seed``.
    """
    if most is None or len(queries) <= most:
        return queries
    ordered = sorted(queries, key=lambda query: seed_for(seed, query.id, "evaluation sample"))
    chosen = {query.id for query in ordered[:most]}
    return [query for query in queries if query.id in chosen]
