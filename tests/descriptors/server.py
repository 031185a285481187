"""A web server on this machine that can be told to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WeightsServer:
    """Serves ``content`` at every path.

    Attributes:
        content: what it serves.
        etag: validator it sends; ``None`` sends none.
        cut_after: number of body bytes after which each connection breaks off; ``None`` is never.
        ranges: whether it honours Range.
        status: answer with this status and no content.
        requests: the Range header of every request so far, ``None`` where there was none.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag: str | None = '"one"'
        self.cut_after: int | None = None
        self.ranges = True
        self.status = 200
        self.requests: list[str | None] = []
        self.url = ""


@contextmanager
def serving(content: bytes) -> Iterator[WeightsServer]:
    server = WeightsServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, server)

        def log_message(self, *arguments: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, server: WeightsServer) -> None:
    wanted = handler.headers.get("Range")
    server.requests.append(wanted)
    if server.status != 200:
        handler.send_error(server.status)
        return
    total = len(server.content)
    same = handler.headers.get("If-Range") == server.etag
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges and same else 0
    if start >= total:
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{total}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    handler.send_header("Content-Length", str(total - start))
    if server.etag is not None:
        handler.send_header("ETag", server.etag)
    handler.end_headers()
    body = server.content[start:]
    handler.wfile.write(body if server.cut_after is None else body[: server.cut_after])
