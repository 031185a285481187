"""Make docs/page.png and docs/page_phone.png, the moderators' page, from a finished `make run`.

python scripts/make_page_pictures.py

Needs the extra [service], Playwright and a Chromium (Debian: apt-get install chromium).
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.cli.interrupts import run_program
from active_indexing.query.lookup import QueryConfig
from active_indexing.service.app import create_app
from active_indexing.service.config import ServiceConfig
from active_indexing.service.engine import Engine
from active_indexing.service.tokens import TokenFile

COLOURS = 256
"""Of the palette: a third of the bytes of a PNG in true colour."""

LOADED = "#original[src]"

Scheme = Literal["light", "dark"]
VIEWS: tuple[tuple[str, int, Scheme], ...] = (("page", 1000, "light"), ("page_phone", 390, "dark"))
"""Name of the picture, width in CSS pixels, colours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, default=Path("output/store"), help="default: %(default)s")
    parser.add_argument(
        "--query", type=Path, default=Path("output/found/screenshot.jpg"), help="default: %(default)s"
    )
    parser.add_argument("--to", type=Path, default=Path("docs"), help="default: %(default)s")
    arguments = parser.parse_args(argv)
    with served(arguments.store) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, width, scheme in VIEWS:
            with atomic_file(arguments.to / f"{name}.png") as file:
                file.write(picture(browser, address, arguments.query, width, scheme))
        browser.close()
    print(f"the pictures are in {arguments.to}")
    return 0


@contextmanager
def served(store: Path) -> Iterator[str]:
    """The service on a port of its own, in a thread."""
    config = ServiceConfig()
    engine = Engine(store, config, QueryConfig(), torch.device("cpu"))
    app = create_app(engine, config, TokenFile(config.tokens_path(store)))
    with socket.create_server(("127.0.0.1", 0)) as port:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, args=([port],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


def picture(browser: Browser, address: str, query: Path, width: int, scheme: Scheme) -> bytes:
    """The page with an answer, as PNG."""
    context = browser.new_context(viewport={"width": width, "height": 700}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.set_input_files("#file", query)
    page.wait_for_selector(LOADED)
    page.wait_for_timeout(500)  # the picture is drawn
    content = page.locator("main").screenshot()
    context.close()
    small = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    run_program(main)
