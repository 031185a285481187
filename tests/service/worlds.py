"""A service on a store of the toy world, in this process."""

from __future__ import annotations

import io
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from active_indexing.query.lookup import QueryConfig
from active_indexing.service.config import ServiceConfig
from active_indexing.service.tokens import TokenFile
from tests.conftest import Toy
from tests.store.worlds import some, toy_release


def filled(toy: Toy, folder: Path) -> Path:
    """A store of twenty images, made once a session."""
    made = toy.model.parent / "served"
    if not made.exists():
        toy_release(toy, some(toy, toy.model.parent / "served_photos", slice(0, 20)), made)
    return shutil.copytree(made, folder)


@contextmanager
def client_of(store: Path, called: str = "localhost", **settings: Any) -> Iterator[Any]:
    """A client of the application; ``client.app`` is the application."""
    from fastapi.testclient import TestClient

    from active_indexing.service.app import create_app
    from active_indexing.service.engine import Engine

    config = ServiceConfig(**settings)
    engine = Engine(store, config, QueryConfig(), torch.device("cpu"))
    app = create_app(engine, config, TokenFile(config.tokens_path(store)))
    with TestClient(app, base_url=f"http://{called}") as client:
        yield client


def photo(toy: Toy, place: int) -> Path:
    return sorted(toy.images.glob("*.png"))[place]


def copy_of(toy: Toy, place: int) -> bytes:
    """A slightly smaller copy of a photo, as PNG."""
    with Image.open(photo(toy, place)) as image:
        return png(np.asarray(image.convert("RGB").resize((image.width - 3, image.height - 2))))


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@contextmanager
def listening(store: Path, **settings: Any) -> Iterator[str]:
    """The service on a port of its own, in a thread."""
    import uvicorn

    with client_of(store, **settings) as client, socket.create_server(("127.0.0.1", 0)) as port:
        server = uvicorn.Server(uvicorn.Config(client.app, lifespan="off", log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, args=([port],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()
