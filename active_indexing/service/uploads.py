"""The body of a request as bytes in memory, within the limits; nothing of it touches the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from active_indexing.service.refusals import Refusal, busy

FIELD = "image"
DRAINED = 4
"""A body that is too large is read up to so many times the limit and thrown away, so that the client, which
is still sending, gets to read why it was refused. One that waits for ``100 Continue`` never sends it."""

_EXPECTED = (
    "send one image: its bytes as the body with a Content-Type of image/*, or a multipart form with the file "
    f"in the field {FIELD!r}; URLs are not fetched"
)


class _InMemory(MultiPartParser):
    """A parser whose files stay in memory: Starlette's own goes to a temporary file above 1 MB."""

    spool_max_size = 1 << 40


Take = Callable[[int], None]
"""Takes so many bytes more of the memory that there is for bodies; refuses when they are not there."""


class Room:
    """Memory for bodies of requests, those that are still coming and those that wait.

    A client that sends a byte a second holds what it has sent, and nobody else up.

    Args:
        most: bytes of all bodies together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def taken(self) -> Iterator[Take]:
        """Gives what takes memory; all that was taken is given back when the block ends."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if self._held + count > self._most:
                told = busy("the memory for uploads is used up; send this one again in a second.")
                told.headers["Connection"] = "close"
                raise told
            self._held += count
            mine += count

        try:
            yield take
        finally:
            self._held -= mine


async def image_of(request: Request, most: int, seconds: float, take: Take) -> bytes:
    """The image in a request.

    Args:
        request: whose body was not read yet.
        most: bytes of the whole body.
        seconds: in which it must have come.
        take: from the memory for bodies.

    Raises:
        Refusal: too large, too slow, of another kind, or empty.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (kind.startswith("image/") or kind in ("application/octet-stream", "multipart/form-data")):
        raise Refusal(415, "content_type", f"the Content-Type is {kind or 'missing'}: {_EXPECTED}.")
    body = await body_of(request, most, seconds, take)
    content = await _form_file(request, body) if kind == "multipart/form-data" else body
    if not content:
        raise Refusal(400, "empty", f"the body holds no image: {_EXPECTED}.")
    return content


async def body_of(request: Request, most: int, seconds: float, take: Take) -> bytes:
    """The body of a request, whatever it is; the arguments are those of :func:`image_of`.

    Raises:
        Refusal: larger than ``most`` bytes, not there after so many seconds, or no memory for it.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _body(request, most, take)
    except TimeoutError:
        told = (
            f"the upload took more than {seconds:g} s; try again on a faster line, or send a smaller image."
        )
        raise Refusal(408, "slow_upload", told, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Refusal(400, "disconnected", "the client went away before the image had come.") from None


async def _body(request: Request, most: int, take: Take) -> bytes:
    told = Refusal(
        413,
        "too_large",
        f"the upload is larger than the limit of {most / 1e6:g} MB; send a smaller copy of the image.",
        {"Connection": "close"},
    )
    waits = request.headers.get("expect", "").lower() == "100-continue"
    if waits and int(request.headers.get("content-length", 0)) > most:
        raise told
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most:
            take(len(chunk))
            parts.append(chunk)
        else:
            parts.clear()
        if size > DRAINED * most:
            break
    if size > most:
        raise told
    return b"".join(parts)


async def _form_file(request: Request, body: bytes) -> bytes:
    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _InMemory(request.headers, once(), max_files=1, max_fields=8).parse()
    except (MultiPartException, ValueError) as error:
        reason = getattr(error, "message", str(error)).rstrip(".")
        raise Refusal(400, "form", f"not a multipart form ({reason}): {_EXPECTED}.") from None
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise Refusal(400, "form", f"the form has no file in the field {FIELD!r}: {_EXPECTED}.")
        return bytes(await file.read())
    finally:
        await form.close()
