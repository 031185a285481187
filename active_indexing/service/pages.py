"""The page for moderators and the page about the API: files of this package, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Response
from jinja2 import Environment, FileSystemLoader

FOLDER = Path(__file__).parent / "static"
FILES = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css"),
         "/page.js": ("page.js", "text/javascript")}  # fmt: skip


def add_pages(app: FastAPI) -> None:
    """Add ``/``, its two files, and ``/docs``; none of them needs a token, and none tells anything."""
    for address, (name, kind) in FILES.items():
        _add(app, address, (FOLDER / name).read_text(), kind)
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True)
    _add(app, "/docs", environment.get_template("api.html").render(api=app.openapi()), "text/html")


def _add(app: FastAPI, address: str, content: str, kind: str) -> None:
    def page() -> Response:
        return Response(content, media_type=kind)

    app.get(address, include_in_schema=False)(page)
