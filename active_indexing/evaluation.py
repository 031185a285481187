"""Attack, describe, search: the two evaluations of a run, resumable image by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from active_indexing.attacks.jobs import AttackJob, AttackResult
from active_indexing.attacks.pool import AttackPool
from active_indexing.attacks.registry import Attack
from active_indexing.concurrency import map_in_order
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.indexing import VectorIndex
from active_indexing.journal import Journal, OtherRunError
from active_indexing.records import NO_MATCH, QueryRow
from active_indexing.search import query_rows


@dataclass(frozen=True)
class QueryImage:
    """An image that is attacked.

    Attributes:
        id: keys its random draws; unique in an evaluation.
        path: the file.
        image_index: id of the entry it should be matched to, or ``NO_MATCH``.
    """

    id: int
    path: Path
    image_index: int


@dataclass(frozen=True)
class Failure:
    """An attack that could not be applied; its query is in no CSV but ``failures.csv``."""

    stage: str
    image_index: int
    attack: str
    attack_param: str
    reason: str


class Evaluation:
    """Attacks images, searches the copies and remembers the answers.

    Args:
        stage: name used in progress, failures and the journal's file name.
        folder: where the journal is.
        settings: everything the answers depend on; other settings start over.
    """

    def __init__(self, stage: str, folder: Path, settings: dict[str, Any]) -> None:
        self.stage = stage
        path = folder / f"{stage}.jsonl"
        try:
            self._journal = Journal(path, settings)
        except OtherRunError:
            self._journal = Journal(path, settings, fresh=True)
        self._places = self._journal.places("id")

    def run(
        self,
        queries: Sequence[QueryImage],
        attacks: tuple[Attack, ...],
        descriptor: Descriptor,
        index: VectorIndex,
        pool: AttackPool,
        *,
        k: int,
        seed: int,
        threads: int,
        progress: bool,
    ) -> None:
        """Evaluate every image that is not on record yet."""
        todo = [query for query in queries if query.id not in self._places]
        jobs = (
            AttackJob(
                image_id=query.id,
                path=query.path,
                attacks=attacks,
                seed=seed,
                preprocessing=descriptor.preprocessing,
            )
            for query in todo
        )

        def answer(attacked: tuple[QueryImage, AttackResult]) -> dict[str, Any]:
            query, result = attacked
            rows = query_rows(result, descriptor, index, k, query.image_index)
            return _item(query, attacks, rows, result)

        done = len(queries) - len(todo)
        with tqdm(total=len(queries), initial=done, desc=self.stage, unit="img", disable=not progress) as bar:
            answers = map_in_order(answer, zip(todo, pool.run(jobs), strict=True), threads)
            for item in answers:
                self._journal.append(item)
                bar.update()
        self._places = self._journal.places("id")

    def blocks(self, queries: Sequence[QueryImage], size: int) -> Iterator[tuple[int, QueryRow]]:
        """(block number, row) in the published order: blocks of images, in a block by attack, then by image.

        Matching queries and those without a match are numbered apart.
        """
        matching = [query for query in queries if query.image_index != NO_MATCH]
        others = [query for query in queries if query.image_index == NO_MATCH]
        for group in (matching, others):
            for number, start in enumerate(range(0, len(group), size)):
                rows = [self._rows(query) for query in group[start : start + size]]
                for of_one_attack in zip(*rows, strict=True):
                    yield from ((number, row) for row in of_one_attack if row is not None)

    def failures(self, queries: Sequence[QueryImage]) -> Iterator[Failure]:
        """Attacks that failed, in the order of the queries."""
        for query in queries:
            item = self._journal.item_at(self._places[query.id])
            for attack, param, reason in item["failures"]:
                yield Failure(self.stage, query.image_index, attack, param, reason)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _rows(self, query: QueryImage) -> list[QueryRow | None]:
        item = self._journal.item_at(self._places[query.id])
        return [None if slot is None else _row(query, slot) for slot in item["rows"]]


def _item(
    query: QueryImage, attacks: tuple[Attack, ...], rows: list[QueryRow], result: AttackResult
) -> dict[str, Any]:
    """One slot per attack, empty where it failed, so that every image has the same places."""
    slots: list[dict[str, Any] | None] = [_slot(row) for row in rows]
    if len(rows) != len(attacks):
        found = {(row.attack, row.attack_param): slot for row, slot in zip(rows, slots, strict=True)}
        slots = [found.get((attack.name, attack.param_text)) for attack in attacks]
    return {"id": query.id, "rows": slots, "failures": result.failures}


def _slot(row: QueryRow) -> dict[str, Any]:
    return {
        "attack": row.attack,
        "param": row.attack_param,
        "ids": row.ids.tolist(),
        "distances": row.distances.tolist(),
    }


def _row(query: QueryImage, slot: dict[str, Any]) -> QueryRow:
    ids, distances = np.array(slot["ids"], dtype=np.int64), np.array(slot["distances"], dtype=np.float32)
    return QueryRow(query.image_index, slot["attack"], slot["param"], ids, distances)
