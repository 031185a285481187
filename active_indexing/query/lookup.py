"""Is this ours, which one, how sure? From an image to an answer, and never a write to the store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from active_indexing.descriptors.batching import describe_blocks
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.network_input import shrunk
from active_indexing.images.any_image import AnyImage, srgb_of
from active_indexing.images.header import UnreadableImage
from active_indexing.query import views as query_views
from active_indexing.query.answers import MATCH, NO_MATCH, UNREADABLE, Answer, Judge
from active_indexing.query.reranking import Ranked, ranked
from active_indexing.query.store_calibration import StoreCalibration, load_or_estimate
from active_indexing.store.archive import Store
from active_indexing.store.carried import load_carried_descriptor
from active_indexing.store.rows import RELEASED, StoredImage
from active_indexing.store.search import CandidateSearch

LOOK_ALIKES = 5
"""How many are told at most."""


@dataclass(frozen=True)
class QueryConfig:
    """How a store is asked.

    Attributes:
        false_positive_rate: share of the queries that match nothing and may be called a match all the same.
        nprobe: cells of the index visited per view. People wait for a picture's descriptors anyway; 32 of the
            default index's 1024 cells add 2 ms to them among a million images, see docs/measurements.md.
        candidates: images per view that are scored exactly.
        views: look at parts of the query too, not only at all of it.
    """

    false_positive_rate: float = 0.01
    nprobe: int = 32
    candidates: int = 50
    views: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.false_positive_rate < 0.5:
            raise ValueError(
                f"--false_positive_rate must be above 0 and below 0.5, got {self.false_positive_rate}."
            )
        if self.nprobe < 1 or self.candidates < 1:
            raise ValueError(
                f"--nprobe and --candidates must be at least 1, got {self.nprobe}, {self.candidates}."
            )


class Lookup:
    """An open store with its descriptor, to ask many questions; images released or removed meanwhile count.

    Args:
        folder: of the store.
        config: how it is asked.
        device: where the descriptor runs.

    Attributes:
        calibration: what the verdicts rest on.
        notes: what people should know: a damaged cache, thresholds that are estimates.

    Raises:
        FileNotFoundError: no store there.
        StoreError: a store that can't be used.
    """

    def __init__(
        self, folder: Path, config: QueryConfig | None = None, device: torch.device | None = None
    ) -> None:
        self.config = config or QueryConfig()
        self.store = Store(Path(folder))
        self._descriptor: Descriptor = load_carried_descriptor(self.store, device or torch.device("cpu"))
        self._search = CandidateSearch(self.store)
        self.calibration: StoreCalibration = load_or_estimate(self.store, self._search, self.config.views)
        damage = (
            [f"warning: {self._search.damage}; answers come from the codes"] if self._search.damage else []
        )
        self.notes = [*damage, *self.calibration.notes(self.store)]

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Lookup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, query: AnyImage, name: str | None = None) -> Answer:
        """Ask about one image.

        Args:
            query: a path, the bytes of a file, an image of Pillow, or (H, W, 3) uint8 sRGB.
            name: of the query in the answer; a path is its own name.
        """
        name = name or (str(query) if isinstance(query, Path | str) else "image")
        try:
            pixels, content = srgb_of(query)
        except UnreadableImage as error:
            return Answer(name, UNREADABLE, reason=str(error))
        return self.ask_decoded(name, pixels, content)

    def ask_decoded(self, name: str, pixels: np.ndarray, content: bytes | None = None) -> Answer:
        """Ask about one image that was decoded already.

        Args:
            name: of the query in the answer.
            pixels: (H, W, 3) uint8 sRGB.
            content: the bytes of its file, where it is one: the very file of an original is known by them.
        """
        if content is not None:
            known = self._very_file(name, hashlib.sha256(content).hexdigest())
            if known is not None:
                return known
        views = self.views_of(pixels)
        return self.judged(name, views, self.candidates(self.described(views), [view.kind for view in views]))

    def described(self, views: Sequence[query_views.View]) -> np.ndarray:
        """Descriptors of views, (V, D) float32, unit norm."""
        preprocessing = self._descriptor.preprocessing
        inputs = [shrunk(np.ascontiguousarray(view.pixels), preprocessing).numpy() for view in views]
        return describe_blocks(inputs, self._descriptor)

    def candidates(
        self, described: np.ndarray, kinds: Sequence[str], nprobe: int | None = None
    ) -> list[Ranked]:
        """Released images near to any of the views, with exact scores, best first.

        Args:
            described: (V, D) float32 descriptors of the views.
            kinds: of each view.
            nprobe: cells visited per view; ``None`` is that of the settings.
        """
        ids = self._search.candidates(described, self.config.candidates, nprobe or self.config.nprobe)
        return ranked(described, kinds, self.store.database.descriptors(ids), self.calibration.spread)

    def likely(self, candidates: Sequence[Ranked]) -> list[Ranked]:
        """Candidates that are a match or may be one, best first."""
        judge = self._judge()
        return [one for one in candidates if judge.verdict(one.score) != NO_MATCH]

    def known_file(self, sha256: str) -> tuple[StoredImage, str] | None:
        """The released image with these bytes, and what they are of it: its released file or its source."""
        for column, which in (("released_sha256", "released file"), ("source_sha256", "source")):
            row = self.store.database.find(column, sha256)
            if row is not None and row.status == RELEASED:
                return row, which
        return None

    def views_of(self, srgb: np.ndarray) -> list[query_views.View]:
        """The views of a query that are looked at, (H, W, 3) uint8 sRGB."""
        return query_views.views_of(srgb) if self.config.views else [query_views.whole_view(srgb)]

    def judged(self, name: str, views: Sequence[query_views.View], candidates: Sequence[Ranked]) -> Answer:
        """The answer that candidates of these views stand for."""
        judge = self._judge()
        # A row that was removed since the descriptors were read is gone as well.
        near = self._with_rows(candidates[: LOOK_ALIKES + 2])
        if not near:
            return Answer(name, NO_MATCH, reason="" if judge.images else "the store is empty")
        found = [judge.found(one, row, str(row.path(self.store.folder))) for one, row in near]
        best = near[0][0]
        verdict = judge.verdict(best.score)
        alike = self._look_alikes(judge, [one for one, _ in near]) if verdict == MATCH else set()
        return Answer(
            name,
            verdict,
            best=found[0],
            runner_up=found[1] if len(found) > 1 else None,
            look_alikes=tuple(each for each in found[1:] if each.id in alike)[:LOOK_ALIKES],
            view=views[best.view].kind,
            box=views[best.view].box,
            reason="" if judge.strangers else "too few images to know how near strangers come",
        )

    def _look_alikes(self, judge: Judge, near: Sequence[Ranked]) -> set[int]:
        """Ids that match as well, and match the best one itself."""
        others = [one.id for one in near[1:] if judge.verdict(one.score) == MATCH]
        stored = self.store.database.descriptors([near[0].id, *others])
        original = stored.get(near[0].id)
        if original is None:
            return set()
        scores = ranked(original[:1], [query_views.WHOLE], {i: stored[i] for i in others if i in stored}, 0)
        return {one.id for one in scores if judge.verdict(one.score) == MATCH}

    def _very_file(self, name: str, sha256: str) -> Answer | None:
        """The answer to a file that is one of ours byte for byte; ``None`` for any other."""
        known = self.known_file(sha256)
        if known is None:
            return None
        row, which = known
        same = self._judge().found(Ranked(row.id, 1.0, 0.0, 0), row, str(row.path(self.store.folder)))
        return Answer(name, MATCH, best=same, view="file", reason=f"the very bytes of the {which}")

    def _with_rows(self, near: Sequence[Ranked]) -> list[tuple[Ranked, StoredImage]]:
        rows = {row.id: row for row in self.store.database.images([one.id for one in near])}
        return [(one, rows[one.id]) for one in near if one.id in rows and rows[one.id].status == RELEASED]

    def _judge(self) -> Judge:
        images = self.store.database.count_released()
        return Judge(self.calibration.strangers, self.config.false_positive_rate, images)
