"""The JSON that the service answers with; OpenAPI is made of it."""

from __future__ import annotations

from typing import Literal, cast

from pydantic import BaseModel, Field

from active_indexing.query.answers import Found
from active_indexing.service.engine import Asked, Engine
from active_indexing.store.rows import StoredImage

Verdict = Literal["match", "unsure", "no match"]


class Original(BaseModel):
    """A released image that the query may be a copy of."""

    id: str = Field(description="63 bits as decimal digits: too large for a number of JavaScript")
    name: str = Field(description="file name of the released image")
    score: float = Field(description="similarity, less a handicap for a part of the query; larger is better")
    sigma: float | None = Field(
        description="the score in standard deviations above what strangers reach; null without a calibration"
    )
    distance: float = Field(description="squared L2 distance of the descriptors, 0 to 4")
    released_at: str = Field(description="UTC, ISO 8601")
    thumbnail: str = Field(description="address of a small JPEG on this server")


class Box(BaseModel):
    """A part of the query, in its pixels, upright."""

    top: int
    left: int
    bottom: int
    right: int


class Scale(BaseModel):
    """Sigmas from which a score is called unsure and a match, at the false-positive rate of the service."""

    unsure: float
    match: float


class QueryAnswer(BaseModel):
    """Is it ours, which one, how sure?"""

    verdict: Verdict
    best: Original | None = Field(description="the most likely original, also when the verdict is no match")
    runner_up: Original | None
    look_alikes: list[Original] = Field(description="more of ours that match because they look like the best")
    view: str = Field(description="what of the query matched: whole, trimmed, rectangle, turned, or file")
    box: Box | None = Field(description="where that part is")
    width: int = Field(description="of the query, upright, pixels")
    height: int
    scale: Scale | None
    reasons: list[str] = Field(description="what the verdict rests on, or what limits it")
    milliseconds: float = Field(description="from the last byte of the upload to the answer")


class Image(BaseModel):
    """A released image."""

    id: str
    name: str
    released_at: str
    width: int
    height: int
    size: int = Field(description="bytes of the released file")
    sha256: str = Field(description="of the released file")
    thumbnail: str
    released: str | None = Field(description="path of the released file; for tokens of scope admin")
    source: str | None = Field(description="path of its source; for tokens of scope admin")


class Limits(BaseModel):
    """What the service takes."""

    max_bytes: int
    max_pixels: int
    concurrent: int = Field(description="requests in hand, per process")
    upload_seconds: int
    queue_seconds: int


class Status(BaseModel):
    """What the service stands on."""

    version: str
    images: int = Field(description="released, at this moment")
    removed: int
    descriptor: str
    contract: str = Field(description="fingerprint of descriptor and index; changes never")
    calibration: str = Field(
        description="where thresholds come from: non-matching queries, own images, estimate"
    )
    false_positive_rate: float
    scale: Scale | None
    notes: list[str]
    limits: Limits


class ErrorBody(BaseModel):
    """Why a request is not answered."""

    code: str = Field(description="one word for programs")
    message: str = Field(description="one sentence for people")


class Error(BaseModel):
    """The body of every answer of 4xx and 5xx."""

    error: ErrorBody


def thumbnail_of(image_id: int) -> str:
    """Address of an image's small picture."""
    return f"/v1/images/{image_id}/thumbnail"


def scale_of(ends: tuple[float, float] | None) -> Scale | None:
    """Both thresholds by name."""
    return None if ends is None else Scale(unsure=ends[0], match=ends[1])


def query_answer(engine: Engine, asked: Asked, seconds: float) -> QueryAnswer:
    """An answer of the store as JSON."""
    answer = asked.answer
    found = [each for each in (answer.best, answer.runner_up, *answer.look_alikes) if each is not None]
    rows = {row.id: row for row in engine.store.database.images([each.id for each in found])}

    def original(each: Found | None) -> Original | None:
        return None if each is None or each.id not in rows else _original(engine, each, rows[each.id])

    box = None if answer.box is None else Box(**dict(zip(Box.model_fields, answer.box, strict=True)))
    return QueryAnswer(
        verdict=cast(Verdict, answer.verdict),
        best=original(answer.best),
        runner_up=original(answer.runner_up),
        look_alikes=[known for each in answer.look_alikes if (known := original(each)) is not None],
        view=answer.view,
        box=box,
        width=asked.size[1],
        height=asked.size[0],
        scale=scale_of(asked.scale),
        reasons=[text for text in (answer.reason, *asked.notes) if text],
        milliseconds=round(1000 * seconds, 1),
    )


def _original(engine: Engine, found: Found, row: StoredImage) -> Original:
    return Original(
        id=str(found.id),
        name=engine.path_of(row).name,
        score=found.score,
        sigma=found.normalized,
        distance=found.distance,
        released_at=row.released_at,
        thumbnail=thumbnail_of(found.id),
    )


def image_of_row(engine: Engine, row: StoredImage, *, with_paths: bool) -> Image:
    """A row as JSON.

    Args:
        engine: of its store.
        row: of a released image.
        with_paths: tell where files lie on this machine.
    """
    path = engine.path_of(row)
    return Image(
        id=str(row.id),
        name=path.name,
        released_at=row.released_at,
        width=row.width,
        height=row.height,
        size=row.size,
        sha256=row.released_sha256,
        thumbnail=thumbnail_of(row.id),
        released=str(path) if with_paths else None,
        source=row.source if with_paths else None,
    )
