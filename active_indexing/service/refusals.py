"""Why a request is not answered: one JSON form for all of them."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: HTTP status, 4xx, or 503 while the store can't be used.
        code: one word for programs.
        message: one sentence for people: what was wrong, and what to do.
        headers: of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def record(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": {"code": self.code, "message": self.message}}


def busy(message: str) -> Refusal:
    """Too much to do at this moment."""
    return Refusal(429, "busy", message, {"Retry-After": "1"})
