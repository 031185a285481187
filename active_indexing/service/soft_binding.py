"""The Soft Binding Resolution API of C2PA 2.4: from a copy without Content Credentials to its manifests.

Query, fetch and service routes; manifests come into the store with ``release --c2pa``, not over HTTP.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, ValidationError

from active_indexing.integrations.c2pa_fingerprint import (
    ALGORITHM,
    Fingerprint,
    FingerprintError,
    from_query,
)
from active_indexing.integrations.c2pa_resolution import Match, by_fingerprint, by_image
from active_indexing.service.callers import Reader
from active_indexing.service.engine import Engine
from active_indexing.service.refusals import Refusal
from active_indexing.service.uploads import body_of, image_of
from active_indexing.store.errors import StoreError
from active_indexing.store.manifests import manifest_content

PREFIX = "/c2pa/v1"
WELL_KNOWN = "/.well-known/c2pa-soft-binding-resolution"
SPECIFICATION = "2.4.0"

MOST_VALUE = 16_384
"""Characters of a ``value``; a descriptor of 4,096 coordinates, the longest, has 14,614."""

MOST_RESULTS = 100

_BYTES = {"schema": {"type": "string", "format": "binary"}}
_CONTENT = {"requestBody": {"required": True, "content": {"image/*": _BYTES}}}


class SoftBindingQuery(BaseModel):
    """A soft binding that is asked about."""

    alg: str = Field(description=f"name of the algorithm, {ALGORITHM} here")
    value: str = Field(description="base64 of the binding's text", max_length=MOST_VALUE)


class ManifestMatch(BaseModel):
    """A manifest that may belong to the image; the one who asks confirms it by looking at both."""

    manifestId: str = Field(description="GET /manifests/{manifestId} of this server has it")
    similarityScore: int = Field(
        ge=0,
        le=100,
        description="100 for the very bytes or fingerprint, else 100 times the cosine similarity, at most 99",
    )


class QueryResult(BaseModel):
    """Candidates, best first."""

    matches: list[ManifestMatch]


class Algorithm(BaseModel):
    """A soft binding algorithm."""

    alg: str


class Algorithms(BaseModel):
    """What soft bindings may be asked about."""

    watermarks: list[Algorithm]
    fingerprints: list[Algorithm]


class Capabilities(BaseModel):
    """What of the specification is there."""

    c2paSpecificationVersion: str
    supportedCapabilities: list[str]


class ServiceStatus(BaseModel):
    """Whether it works."""

    status: Literal["ok", "degraded", "down"]
    timestamp: datetime


class Discovery(BaseModel):
    """Where the API is."""

    apiEndpoint: str
    c2paSpecificationVersion: str
    capabilitiesEndpoint: str
    statusEndpoint: str


router = APIRouter(prefix=PREFIX, tags=["C2PA"])
service = APIRouter(tags=["C2PA"])
"""Routes at the root of the server."""

Most = Annotated[int, Query(alias="maxResults", ge=1, description="matches wanted; 100 are given at most")]


@router.get("/matches/byBinding")
async def query_by_binding(
    request: Request,
    _: Reader,
    alg: Annotated[str, Query(description=f"{ALGORITHM} here")],
    value: Annotated[str, Query(description="base64 of the binding's text")],
    most: Most = 10,
) -> QueryResult:
    """Manifests whose fingerprint is near to this one."""
    if len(value) > MOST_VALUE:
        raise Refusal(414, "too_long", f"the value has more than {MOST_VALUE:,} characters; no binding has.")
    return await _by_binding(request, alg, value, most)


@router.post(
    "/matches/byBinding",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": SoftBindingQuery.model_json_schema()}},
        }
    },
)
async def query_by_large_binding(request: Request, _: Reader, most: Most = 10) -> QueryResult:
    """The same, with the binding in the body."""
    engine: Engine = request.app.state.engine
    with engine.room.taken() as take:
        body = await body_of(request, 2 * MOST_VALUE, request.app.state.config.upload_seconds, take)
    try:
        query = SoftBindingQuery.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(str(part) for part in first['loc']) or 'the body'}: {first['msg']}"
        raise Refusal(400, "binding", f'{told}; send {{"alg": ..., "value": ...}}.') from None
    return await _by_binding(request, query.alg, query.value, most)


@router.post("/matches/byContent", openapi_extra=_CONTENT)
async def query_by_content(
    request: Request,
    _: Reader,
    alg: Annotated[str, Query(description="by which to match")] = ALGORITHM,
    most: Most = 10,
    hint_alg: Annotated[str | None, Query(alias="hintAlg", description="of a binding that is known")] = None,
    hint_value: Annotated[str | None, Query(alias="hintValue", description="that binding, base64")] = None,
) -> QueryResult:
    """Manifests of the images that this one may be a copy of; the image is not kept."""
    engine: Engine = request.app.state.engine
    config = request.app.state.config
    _known(alg)
    hint = None
    if hint_alg == ALGORITHM and hint_value is not None:
        hint = _parsed(hint_value)
    with engine.room.taken() as take:
        content = await image_of(request, config.max_mb * 1_000_000, config.upload_seconds, take)
        request.state.noted["bytes"] = len(content)
        with engine.in_hand():
            matches = await engine.work(
                lambda lookup: by_image(
                    lookup, engine.decoded(content), content, min(most, MOST_RESULTS), hint
                )
            )
    return _result(matches)


@router.get(
    "/manifests/{manifest_id}",
    response_class=Response,
    responses={200: {"content": {"application/c2pa": _BYTES}}},
)
def get_manifest_by_id(
    request: Request,
    _: Reader,
    manifest_id: str,
    only_active: Annotated[bool, Query(alias="returnActiveManifest", description="without effect")] = False,
) -> Response:
    """The manifest store of a released image, as it lay in its file."""
    content = manifest_content(request.app.state.engine.store.database, manifest_id)
    if content is None:
        raise Refusal(404, "not_found", "no released image has a manifest of this id.")
    return Response(content, media_type="application/c2pa")


@router.get("/services/supportedAlgorithms")
def get_supported_bindings() -> Algorithms:
    """The algorithms that may be asked about."""
    return Algorithms(watermarks=[], fingerprints=[Algorithm(alg=ALGORITHM)])


@router.get("/services/capabilities")
def get_service_capabilities() -> Capabilities:
    """The optional parts of the specification that are there."""
    return Capabilities(c2paSpecificationVersion=SPECIFICATION, supportedCapabilities=["queryByContent"])


@router.get("/services/status")
def get_service_status(request: Request) -> ServiceStatus:
    """Whether the store can be read."""
    try:
        request.app.state.engine.store.database.last_seq()
    except StoreError:
        return ServiceStatus(status="down", timestamp=datetime.now(UTC))
    return ServiceStatus(status="ok", timestamp=datetime.now(UTC))


@service.get(WELL_KNOWN)
def get_well_known(request: Request) -> Discovery:
    """Where the API is, by the name that the service was asked under."""
    secure = request.headers.get("x-forwarded-proto", "").lower() == "https"  # behind a proxy that ends TLS
    base = re.sub("^http:", "https:", str(request.base_url)) if secure else str(request.base_url)
    base = base.rstrip("/") + PREFIX
    return Discovery(
        apiEndpoint=base,
        c2paSpecificationVersion=SPECIFICATION,
        capabilitiesEndpoint=f"{base}/services/capabilities",
        statusEndpoint=f"{base}/services/status",
    )


async def _by_binding(request: Request, alg: str, value: str, most: int) -> QueryResult:
    engine: Engine = request.app.state.engine
    _known(alg)
    fingerprint = _parsed(value)
    with engine.in_hand():
        try:
            matches = await engine.work(
                lambda lookup: by_fingerprint(lookup, fingerprint, min(most, MOST_RESULTS))
            )
        except FingerprintError as error:
            raise Refusal(400, "binding", f"{error}.") from None
    return _result(matches)


def _known(alg: str) -> None:
    if alg != ALGORITHM:
        raise Refusal(400, "algorithm", f"the algorithm {alg[:80]!r} is not known here; {ALGORITHM} is.")


def _parsed(value: str) -> Fingerprint:
    try:
        return from_query(value)
    except FingerprintError as error:
        raise Refusal(400, "binding", f"{error}.") from None


def _result(matches: list[Match]) -> QueryResult:
    return QueryResult(
        matches=[ManifestMatch(manifestId=each.manifest, similarityScore=each.score) for each in matches]
    )


def add_soft_binding(app: Any) -> None:
    """Add all routes."""
    app.include_router(router)
    app.include_router(service)
