"""Copies that were not found first, a few of each attack, with small pictures of what came back instead."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts import identity
from active_indexing.artefacts.atomic import write_json
from active_indexing.attacks.pictures import PictureJob, picture_pool
from active_indexing.attacks.registry import RANDOM_CHAIN, Attack
from active_indexing.evaluation.stage import QueryImage
from active_indexing.records import QueryRow

LOST_COPIES = "lost_copies.json"

SHOWN = 18
"""Copies with pictures: 1 MB of photos, 5 MB of noise, whatever the number of images."""

EDGE = 240
"""Longer edge of a picture, pixels: three side by side on a page."""


@dataclass
class LostCopies:
    """Counts the lost copies that pass by, and remembers a few.

    Attributes:
        asked: copies that were searched.
        lost: those whose image was not the first answer.
        rows: (attack, parameter) -> the first ``SHOWN`` lost copies of it; attacks as they came.
    """

    asked: int = 0
    lost: int = 0
    rows: dict[tuple[str, str], list[QueryRow]] = field(default_factory=dict)

    def watch(self, rows: Iterable[tuple[int, QueryRow]]) -> Iterator[tuple[int, QueryRow]]:
        """Pass rows on and remember the lost ones."""
        for block, row in rows:
            self.asked += 1
            if row.rank != 0:
                self.lost += 1
                kept = self.rows.setdefault((row.attack, row.attack_param), [])
                if len(kept) < SHOWN:
                    kept.append(row)
            yield block, row

    def chosen(self) -> list[QueryRow]:
        """At most ``SHOWN``: every attack in turn, images that were not shown yet before others."""
        waiting = [list(rows) for rows in self.rows.values()]
        if len(waiting) > SHOWN:  # the grid: attacks from all over it
            waiting = [waiting[n] for n in np.linspace(0, len(waiting) - 1, SHOWN).round().astype(int)]
        seen: dict[int, int] = {}
        taken: list[QueryRow] = []
        while len(taken) < SHOWN and any(waiting):
            for rows in [rows for rows in waiting if rows][: SHOWN - len(taken)]:
                row = min(rows, key=lambda each: seen.get(each.image_index, 0))
                rows.remove(row)
                seen[row.image_index] = seen.get(row.image_index, 0) + 1
                taken.append(row)
        return taken

    def answers(self) -> set[int]:
        """Ids that came first for the remembered copies."""
        return {int(row.ids[0]) for rows in self.rows.values() for row in rows if len(row.ids)}


@dataclass(frozen=True)
class Origins:
    """What copies and answers come from.

    Attributes:
        queries: every released image, by id.
        attacks: of the evaluation.
        seed: the user's ``--seed``.
        names: names of the references that came first, of those that have one.
    """

    queries: dict[int, QueryImage]
    attacks: Sequence[Attack]
    seed: int
    names: dict[int, str]


def write_lost_copies(
    path: Path, lost: LostCopies, origins: Origins, templates: Sequence[Any], workers: int
) -> None:
    """Write the file; pictures that it holds already are not made again.

    It is JSON: ``asked`` and ``lost`` copies; ``copies``, each with its ``image_index``, ``attack``,
    ``attack_param``, ``rank`` (from 0; null: not among the answers), ``answer`` (id that came first; null:
    none), ``answer_name``, ``distance``, ``right_distance`` and the keys of up to three ``pictures``, which
    are JPEG files in base64.

    Args:
        path: of the file.
        lost: after all rows have passed.
        origins: of the copies.
        templates: hashes of the files that attacks read.
        workers: processes; 0 works in this one.
    """
    made_with = identity.fingerprint([origins.seed, EDGE, [repr(a) for a in origins.attacks], templates])
    wanted: dict[str, PictureJob] = {}
    copies = [_copy(row, origins, wanted) for row in lost.chosen()]
    pictures = {key: content for key, content in _earlier(path, made_with).items() if key in wanted}
    missing = {key: job for key, job in wanted.items() if key not in pictures and job.path.is_file()}
    with picture_pool(min(workers, len(missing))) as pool:
        for key, content in zip(missing, pool.run(missing.values()), strict=True):
            if content:
                pictures[key] = base64.b64encode(content).decode()
    counts = {"asked": lost.asked, "lost": lost.lost, "made_with": made_with}
    write_json(path, {**counts, "copies": copies, "pictures": pictures})


def _copy(row: QueryRow, origins: Origins, wanted: dict[str, PictureJob]) -> dict[str, Any]:
    """The item of a copy; its pictures are added to those that are wanted."""
    query = origins.queries[row.image_index]
    named = (a for a in origins.attacks if (a.name, a.param_text) == (row.attack, row.attack_param))
    attack = next(named, Attack(RANDOM_CHAIN))  # whose rows have the name of what was drawn
    keys = {"copy": f"{query.key} {row.attack} {row.attack_param}".strip(), "right": query.key}
    wanted[keys["copy"]] = PictureJob(
        path=query.path, edge=EDGE, attack=attack, image_id=query.id, seed=origins.seed
    )
    wanted[keys["right"]] = PictureJob(path=query.path, edge=EDGE)
    answer = int(row.ids[0]) if len(row.ids) else None
    if answer in origins.queries:
        keys["answer"] = origins.queries[answer].key
        wanted[keys["answer"]] = PictureJob(path=origins.queries[answer].path, edge=EDGE)
    elif answer in origins.names:
        keys["answer"] = f"reference {answer}"
        wanted[keys["answer"]] = PictureJob(path=Path(origins.names[answer]), edge=EDGE)
    return {
        "image_index": row.image_index,
        "attack": row.attack,
        "attack_param": row.attack_param,
        "rank": row.rank,
        "answer": answer,
        "answer_name": "" if answer is None else origins.names.get(answer, ""),
        "distance": None if answer is None else float(row.distances[0]),
        "right_distance": None if row.rank is None else float(row.distances[row.rank]),
        "pictures": keys,
    }


def _earlier(path: Path, made_with: str) -> dict[str, str]:
    """Pictures of an earlier run of the same attacks; none where there is no such file."""
    try:
        content = json.loads(path.read_text())
        return dict(content["pictures"]) if content["made_with"] == made_with else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}
