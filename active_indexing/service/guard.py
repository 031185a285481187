"""Around every request: the host that was asked for, headers of the answer, one line of log, counts."""

from __future__ import annotations

import json
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from active_indexing.service.refusals import Refusal

LOG = logging.getLogger("active_indexing.service")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Middleware that every request passes.

    Args:
        app: behind it.
        names: that the Host header may have; empty for any.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500
        noted: dict[str, Any] = scope.setdefault("state", {}).setdefault("noted", {})
        request = secrets.token_hex(8)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {**HEADERS, "X-Request-Id": request}.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            refused = self._refused(Headers(scope=scope).get("host", ""))
            if refused is not None:
                await JSONResponse(refused.record(), refused.status)(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        finally:
            self._told(scope, request, status, time.perf_counter() - begun, noted)

    def _refused(self, host: str) -> Refusal | None:
        name = host.lower() if host.endswith("]") else host.lower().rpartition(":")[0] or host.lower()
        if not self._names or name in self._names:
            return None
        told = f"the service is not called {name!r}; start it with --allowed_hosts {name} if it should be."
        return Refusal(400, "host", told)

    def _told(self, scope: Scope, request: str, status: int, seconds: float, noted: dict[str, Any]) -> None:
        route = getattr(scope.get("route"), "path", "unknown")  # never the address: ids have no end
        metrics = getattr(scope["app"].state, "metrics", None) if "app" in scope else None
        if metrics is not None:
            metrics.requests.labels(route, str(status)).inc()
            metrics.seconds.labels(route).observe(seconds)
            if "verdict" in noted:
                metrics.verdicts.labels(noted["verdict"]).inc()
        LOG.info(
            "request",
            extra={
                "values": {"request": request, "method": scope["method"], "route": route, "status": status,
                           "ms": round(1000 * seconds, 1), **noted}
            },
        )  # fmt: skip


class JsonLines(logging.Formatter):
    """A log record as one JSON object: time, level, event, and the values that it came with."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "values", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": "active_indexing.service.guard.JsonLines"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "loggers": {
        name: {"handlers": ["stderr"], "level": "INFO", "propagate": False}
        for name in ("active_indexing.service", "uvicorn")
    },
}
"""For ``logging.config.dictConfig``: everything as JSON lines on stderr."""
