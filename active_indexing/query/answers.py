"""What is told about a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from active_indexing.query.reranking import Ranked
from active_indexing.query.strangers import UNSURE, Strangers
from active_indexing.store.rows import StoredImage

MATCH, UNSURE_MATCH, NO_MATCH, UNREADABLE = "match", "unsure", "no match", "unreadable"


@dataclass(frozen=True)
class Found:
    """A released image that a query may be a copy of.

    Attributes:
        id: of the image.
        released: where the released file is.
        source: path of its source when it was released.
        distance: squared L2 distance of the descriptors, in [0, 4]; 0 for the very file.
        score: similarity, less a handicap for a view that is a part of the query; larger is better.
        normalized: the score in standard deviations above what strangers reach; ``None`` without a
            calibration.
    """

    id: int
    released: str
    source: str
    distance: float
    score: float
    normalized: float | None


@dataclass(frozen=True)
class Answer:
    """What a store says about one query.

    Attributes:
        query: name of the query.
        verdict: ``match``, ``unsure``, ``no match`` or ``unreadable``.
        best: the most likely original; ``None`` when the store found nothing to compare with.
        runner_up: the next image.
        look_alikes: further images that match as well because they look like the best one: a burst, a series.
        view: part of the query that gave the best score: ``whole``, ``trimmed``, ``rectangle``, ``turned``,
            or ``file`` for the very bytes of a released file or of its source.
        box: (top, left, bottom, right) of that part in pixels of the query.
        reason: why the query could not be read, or what limits the verdict.
    """

    query: str
    verdict: str
    best: Found | None = None
    runner_up: Found | None = None
    look_alikes: tuple[Found, ...] = ()
    view: str = ""
    box: tuple[int, int, int, int] | None = None
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Judge:
    """The rule from scores to verdicts.

    Attributes:
        strangers: distribution of the scores of queries that match nothing; ``None`` when nothing is known.
        rate: share of such queries that may be called a match.
        images: in the store now.
    """

    strangers: Strangers | None
    rate: float
    images: int

    def verdict(self, score: float) -> str:
        """``match`` beyond what a share of ``rate`` of strangers reaches, ``unsure`` up to ten times that."""
        if self.strangers is None:
            return UNSURE_MATCH
        if score > self.strangers.threshold(self.rate, self.images):
            return MATCH
        return UNSURE_MATCH if score > self.strangers.threshold(self._often, self.images) else NO_MATCH

    @property
    def _often(self) -> float:
        return min(0.5, UNSURE * self.rate)

    def scale(self) -> tuple[float, float] | None:
        """Normalized scores beyond which an answer is ``unsure`` and ``match``."""
        if self.strangers is None:
            return None
        unsure, match = (self.strangers.threshold(rate, self.images) for rate in (self._often, self.rate))
        return self.strangers.normalized(unsure, self.images), self.strangers.normalized(match, self.images)

    def normalized(self, score: float) -> float | None:
        """See :class:`Found`."""
        return None if self.strangers is None else self.strangers.normalized(score, self.images)

    def found(self, ranked: Ranked, row: StoredImage, released: str) -> Found:
        """A candidate with what is known of it."""
        normalized = self.normalized(ranked.score)
        return Found(ranked.id, released, row.source, ranked.distance, ranked.score, normalized)


def matched(answers: Sequence[Answer]) -> int:
    """How many of the answers are matches."""
    return sum(answer.verdict == MATCH for answer in answers)
