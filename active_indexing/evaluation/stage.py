"""Attack, describe, search: the two evaluations of a run, resumable image by image."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts.journal import KeyedJournal, OtherRunError
from active_indexing.artefacts.run_log import note
from active_indexing.attacks.jobs import AttackJob, AttackResult
from active_indexing.attacks.registry import Attack
from active_indexing.descriptors.batching import block_size
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.evaluation.copies import ViewSearch, query_rows
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.processes import ProcessPool
from active_indexing.parallel.progress import progress_bar
from active_indexing.parallel.threads import groups_of, map_in_order
from active_indexing.records import NO_MATCH, Failure, QueryRow


@dataclass(frozen=True)
class QueryImage:
    """An image that is attacked.

    Attributes:
        id: keys its random draws; unique in an evaluation.
        path: the file.
        image_index: id of the entry it should be matched to, or ``NO_MATCH``.
        version: text that changes when the file does.
    """

    id: int
    path: Path
    image_index: int
    version: str

    @property
    def key(self) -> str:
        """Tells this content of this image from all others."""
        return f"{self.id} {self.version}"


class EvaluationStage:
    """Attacks images, searches the copies and remembers the answers.

    Args:
        stage: name used in progress, failures and the journal's file name.
        folder: where the journal is.
        settings: everything the answers depend on but the images; other settings start over.
        queries: images to attack.
        attacks: what is done to each.
    """

    def __init__(
        self,
        stage: str,
        folder: Path,
        settings: dict[str, Any],
        queries: Sequence[QueryImage],
        attacks: tuple[Attack, ...],
    ) -> None:
        self.stage = stage
        self._queries = queries
        self._attacks = attacks
        path = folder / f"{stage}.jsonl"
        try:
            self._journal = KeyedJournal(path, settings)
        except OtherRunError:
            self._journal = KeyedJournal(path, settings, fresh=True)

    @property
    def todo(self) -> list[QueryImage]:
        """Queries without an answer on record."""
        return [query for query in self._queries if query.key not in self._journal]

    def run(
        self,
        descriptor: Descriptor,
        index: VectorIndex,
        pool: ProcessPool[AttackJob, AttackResult],
        *,
        k: int,
        seed: int,
        threads: int,
        progress: bool,
        views: ViewSearch | None = None,
    ) -> None:
        """Evaluate every image that is not on record yet; with ``views`` copies are searched in parts."""
        todo = self.todo
        jobs = (
            AttackJob(
                image_id=query.id,
                path=query.path,
                attacks=self._attacks,
                seed=seed,
                preprocessing=descriptor.preprocessing,
                views=None if views is None else views.views,
            )
            for query in todo
        )

        def answer(attacked: list[tuple[QueryImage, AttackResult]]) -> list[tuple[str, dict[str, Any]]]:
            began = time.perf_counter()
            results, ids = [result for _, result in attacked], [query.image_index for query, _ in attacked]
            rows = query_rows(results, ids, descriptor, index, k, views)
            items = map(partial(_item, self._attacks), rows, results)
            searching = (time.perf_counter() - began) / len(attacked)
            for query, result in attacked:
                self._note(query, result, searching)
            return [(query.key, item) for (query, _), item in zip(attacked, items, strict=True)]

        # Images with few attacks are described together, or a block would hold little but padding.
        together = max(1, block_size(descriptor) // len(self._attacks))
        groups = groups_of(together, zip(todo, pool.run(jobs), strict=True))
        total = len(self._queries)
        with progress_bar(
            total=total, initial=total - len(todo), desc=self.stage, unit="img", disable=not progress
        ) as bar:
            for answered in map_in_order(answer, groups, threads):
                for key, item in answered:
                    self._journal.put(key, item)
                    bar.update()

    def _note(self, query: QueryImage, result: AttackResult, searching: float) -> None:
        told = {"image": query.id, "file": str(query.path), "failed_attacks": len(result.failures)}
        note("image", stage=self.stage, **told, seconds=round(result.seconds + searching, 3))

    def blocks(self, size: int) -> Iterator[tuple[int, QueryRow]]:
        """(block number, row) in the published order: blocks of images, in a block by attack, then by image.

        Matching queries and those without a match are numbered apart.
        """
        matching = [query for query in self._queries if query.image_index != NO_MATCH]
        others = [query for query in self._queries if query.image_index == NO_MATCH]
        for group in (matching, others):
            for number, start in enumerate(range(0, len(group), size)):
                rows = [self._rows(query) for query in group[start : start + size]]
                for of_one_attack in zip(*rows, strict=True):
                    yield from ((number, row) for row in of_one_attack if row is not None)

    def failures(self) -> Iterator[Failure]:
        """Attacks that failed, in the order of the queries."""
        for query in self._queries:
            for attack, param, reason in self._answer(query)["failures"]:
                yield Failure(self.stage, query.image_index, query.path, attack, param, reason)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _answer(self, query: QueryImage) -> dict[str, Any]:
        item = self._journal.get(query.key)
        assert item is not None, "run() comes first"
        return item

    def _rows(self, query: QueryImage) -> list[QueryRow | None]:
        return [None if slot is None else _row(query, slot) for slot in self._answer(query)["rows"]]


def _item(attacks: tuple[Attack, ...], rows: list[QueryRow], result: AttackResult) -> dict[str, Any]:
    """One slot per attack, empty where it failed, so that every image has the same places."""
    slots: list[dict[str, Any] | None] = [_slot(row) for row in rows]
    if len(rows) != len(attacks):
        found = {(row.attack, row.attack_param): slot for row, slot in zip(rows, slots, strict=True)}
        slots = [found.get((attack.name, attack.param_text)) for attack in attacks]
    return {"rows": slots, "failures": result.failures}


def _slot(row: QueryRow) -> dict[str, Any]:
    """Arrays as base64 of their bytes: exact, a third of the decimal digits, and fast to read."""
    ids, distances = row.ids.astype("<i8"), row.distances.astype("<f4")
    return {
        "attack": row.attack,
        "param": row.attack_param,
        "ids": base64.b64encode(ids.tobytes()).decode(),
        "distances": base64.b64encode(distances.tobytes()).decode(),
    }


def _row(query: QueryImage, slot: dict[str, Any]) -> QueryRow:
    ids = np.frombuffer(base64.b64decode(slot["ids"]), dtype="<i8").astype(np.int64)
    distances = np.frombuffer(base64.b64decode(slot["distances"]), dtype="<f4").astype(np.float32)
    return QueryRow(query.image_index, slot["attack"], slot["param"], ids, distances)
