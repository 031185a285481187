"""The application: routes, who may use them, and what they answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from active_indexing import __version__
from active_indexing.service.callers import Administrator, Reader
from active_indexing.service.config import ServiceConfig
from active_indexing.service.engine import Engine
from active_indexing.service.guard import LOG, Guard
from active_indexing.service.metrics import Metrics
from active_indexing.service.pages import add_pages
from active_indexing.service.refusals import Refusal
from active_indexing.service.schemas import (
    Error,
    Image,
    Limits,
    QueryAnswer,
    Status,
    image_of_row,
    query_answer,
    scale_of,
)
from active_indexing.service.soft_binding import PREFIX as C2PA
from active_indexing.service.soft_binding import add_soft_binding
from active_indexing.service.tokens import ADMIN, TokenFile
from active_indexing.service.uploads import FIELD, image_of
from active_indexing.store.errors import StoreError

EDGES = (32, 2048)
"""Of small pictures, pixels of the longer side."""

_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _BYTES["schema"]}}}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"image/*": _BYTES, "application/octet-stream": _BYTES, "multipart/form-data": _FORM},
    }
}


def create_app(engine: Engine, config: ServiceConfig, tokens: TokenFile) -> FastAPI:
    """The application on an open store, which it closes when it stops.

    Args:
        engine: the store.
        config: limits and names.
        tokens: while the file holds none, a service on loopback answers everybody on this machine.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(
        title="active-indexing",
        version=__version__,
        description="Is this image one of ours, which one, how sure? Images are sent, and not kept.",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses={"4XX": {"model": Error, "description": "refused: the body says why and what to do"}},
    )
    app.state.engine, app.state.config, app.state.tokens = engine, config, tokens
    app.state.metrics = Metrics(engine.store.database.count_released)
    _add_refusals(app)
    _add_routes(app)
    add_soft_binding(app)
    add_pages(app)
    app.add_middleware(Guard, names=config.names)
    return app


def _add_refusals(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return JSONResponse(error.record(), error.status, error.headers)

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = Refusal(error.status_code, "http", f"{request.method} {request.url.path}: {error.detail}.")
        return JSONResponse(told.record(), error.status_code, error.headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        told = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}."
        status = 400 if request.url.path.startswith(C2PA) else 422  # what their specification says
        return JSONResponse(Refusal(status, "parameter", told).record(), status)

    async def unusable(_: Request, error: Exception) -> Response:
        LOG.error(str(error))
        told = "the store can't be read at this moment; the log of the service says why."
        return JSONResponse(Refusal(503, "store", told).record(), 503)

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(StoreError, unusable)


ImageId = Annotated[int, InPath(ge=0, description="id of a released image")]
Edge = Annotated[int, Query(ge=EDGES[0], le=EDGES[1], description="most pixels of the longer side")]


async def query(request: Request, _: Reader) -> QueryAnswer:
    """Ask about one image: its bytes as the body, or a multipart form with a file named ``image``."""
    engine: Engine = request.app.state.engine
    config: ServiceConfig = request.app.state.config
    noted = request.state.noted
    with engine.room.taken() as take:
        content = await image_of(request, config.max_mb * 1_000_000, config.upload_seconds, take)
        begun = time.perf_counter()
        noted["bytes"] = len(content)
        with engine.in_hand():
            asked = await engine.ask(content)
        answer = query_answer(engine, asked, time.perf_counter() - begun)
    noted["verdict"] = answer.verdict
    return answer


def image(request: Request, image_id: ImageId, who: Reader) -> Image:
    """What is known of a released image."""
    engine: Engine = request.app.state.engine
    return image_of_row(engine, engine.row(image_id), with_paths=who.scope == ADMIN)


async def thumbnail(request: Request, image_id: ImageId, _: Reader, edge: Edge = 512) -> Response:
    """A small JPEG of a released image."""
    engine: Engine = request.app.state.engine
    with engine.in_hand():
        content = await engine.thumbnail(image_id, edge)
    return Response(content, media_type="image/jpeg")


def status(request: Request, _: Reader) -> Status:
    """What the service stands on: images at this moment, thresholds, limits."""
    engine: Engine = request.app.state.engine
    config: ServiceConfig = request.app.state.config
    counts = engine.store.database.counts()
    return Status(
        version=__version__,
        images=counts.get("released", 0),
        removed=counts.get("removed", 0),
        descriptor=str(engine.store.contract.descriptor.get("name", "")),
        contract=engine.store.contract.fingerprint,
        calibration=engine.calibration.source,
        false_positive_rate=engine.query.false_positive_rate,
        scale=scale_of(engine.scale()),
        notes=list(engine.notes),
        limits=Limits(
            max_bytes=config.max_mb * 1_000_000,
            max_pixels=config.max_megapixels * 1_000_000,
            concurrent=config.concurrent,
            upload_seconds=config.upload_seconds,
            queue_seconds=config.queue_seconds,
        ),
    )


def healthz(request: Request) -> dict[str, str]:
    """Whether the store can be read; needs no token, says nothing else."""
    request.app.state.engine.store.database.last_seq()
    return {"status": "ok"}


def metrics(request: Request, _: Administrator) -> Response:
    """Counters and times in the text format of Prometheus."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_routes(app: FastAPI) -> None:
    jpeg: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": _BYTES}}}
    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}
    app.post("/v1/query", openapi_extra=BODY)(query)
    app.get("/v1/images/{image_id}")(image)
    app.get("/v1/images/{image_id}/thumbnail", responses=jpeg, response_class=Response)(thumbnail)
    app.get("/v1/status")(status)
    app.get("/healthz")(healthz)
    app.get("/metrics", responses=text, response_class=Response)(metrics)
