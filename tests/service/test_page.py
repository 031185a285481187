"""The page for moderators in a real browser."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="pip install 'active-indexing[service]' brings it")
pytest.importorskip("playwright", reason="pip install playwright drives the browser")

from active_indexing.service.pages import FOLDER
from active_indexing.service.tokens import READ, add_token
from tests.browser import MARKS, chromium
from tests.conftest import Toy
from tests.service.worlds import copy_of, filled, listening, photo, png

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with listening(filled(toy, tmp_path_factory.mktemp("page") / "store"), max_mb=1) as address:
        yield address


@contextmanager
def opened(browser: Any, address: str, place: str = "", width: int = 1400, **settings: Any) -> Iterator[Any]:
    """The page in a fresh profile; errors in its scripts and requests to elsewhere fail the test."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    page = context.new_page()
    page.set_default_timeout(30_000)
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: trouble.extend(
        [] if request.url.startswith((address, "blob:", "data:")) else [request.url]))  # fmt: skip
    page.goto(address + place)
    yield page
    assert trouble == []
    context.close()


GIVEN = """([base64, name, event]) => {
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, { type: "image/png" }));
    const given = event === "drop"
        ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
    document.body.dispatchEvent(given);
}"""


def until(page: Any, expression: str) -> None:
    """Wait for it; the browser's own waiting evaluates strings, which the page's policy forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(30)


def give(page: Any, content: bytes, event: str = "drop", name: str = "found.png") -> None:
    """Drop or paste a file, and wait for the verdict."""
    page.evaluate(GIVEN, [base64.b64encode(content).decode(), name, event])
    until(page, "!document.body.classList.contains('busy') && !document.getElementById('result').hidden")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_copy_is_shown_beside_its_original(toy: Toy, browser: Any, address: str, event: str) -> None:
    with opened(browser, address) as page:
        give(page, copy_of(toy, 3), event)
        assert page.inner_text("#verdict") == "Match"
        assert page.inner_text("#original-name") == photo(toy, 3).name
        assert page.inner_text("#query-name") == "found.png"
        assert page.inner_text("#released").startswith("released ")
        assert "standard deviations" in page.inner_text("#score")
        assert "Runner-up: " in page.inner_text("#facts")
        for image in ("#query", "#original"):
            until(page, f"document.querySelector('{image}').naturalWidth > 0")
        mark, zone = (page.locator(each).bounding_box() for each in ("#mark", ".zone.match"))
        assert zone["x"] <= mark["x"] + 2 <= zone["x"] + zone["width"], "the mark lies where the verdict says"
        assert page.is_hidden("#box"), "the whole image matched"


def test_the_part_that_matched_is_drawn(toy: Toy, browser: Any, address: str) -> None:
    with Image.open(photo(toy, 3)) as image:
        inner = np.asarray(image.convert("RGB").resize((160, 160)))
    canvas = np.full((400, 400, 3), 255, np.uint8)
    canvas[40:200, 200:360] = inner
    with opened(browser, address) as page:
        give(page, png(canvas))
        assert page.inner_text("#original-name") == photo(toy, 3).name
        until(page, "document.querySelector('#query').naturalWidth > 0")
        box, query = (page.locator(each).bounding_box() for each in ("#box", "#query"))
        scale = query["width"] / 400
        assert box["x"] - query["x"] == pytest.approx(200 * scale, abs=8)
        assert box["y"] - query["y"] == pytest.approx(40 * scale, abs=8)
        assert box["width"] == pytest.approx(160 * scale, abs=10)


def test_what_is_not_ours_and_what_can_not_be_asked(toy: Toy, browser: Any, address: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    with opened(browser, address) as page:
        give(page, copy_of(toy, 31))
        assert page.inner_text("#verdict") in ("No match", "Unsure")
        assert page.inner_text("#original-title") == "Nearest of ours"
        until(page, "document.getElementById('store').textContent.includes('20 images')")
        give(page, png(noise), name="large.png")
        assert page.inner_text("#verdict") == "Not asked"
        assert "the limit is 1 MB" in page.inner_text("#sentence")
        give(page, b"broken", name="broken.png")
        assert page.inner_text("#sentence").startswith("The image can't be read: ")
        assert page.is_hidden("#query"), "what can't be read can't be shown"
        assert page.is_hidden("#original-side")
        assert page.locator("#history li").count() == 1, "only answers are remembered"


def test_the_history_stays_in_this_browser_and_is_walked_by_keys(
    toy: Toy, browser: Any, address: str
) -> None:
    with opened(browser, address) as page:
        for place in (1, 2):
            give(page, copy_of(toy, place), name=f"{place}.png")
        page.keyboard.press("j")
        assert page.inner_text("#query-name") == "1.png"
        assert page.inner_text("#original-name") == photo(toy, 1).name
        page.keyboard.press("k")
        assert page.inner_text("#query-name") == "2.png"
        page.reload()
        assert page.locator("#history li").count() == 2
        page.click("#history li:nth-child(2) button")
        assert page.inner_text("#query-name") == "1.png"
        page.keyboard.press("Escape")
        assert page.is_hidden("#result")
        page.click("#forget")
        page.reload()
        assert page.is_hidden("#past")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])
def test_it_fits_and_can_be_read(toy: Toy, browser: Any, address: str, width: int, scheme: str) -> None:
    with opened(browser, address, width=width, color_scheme=scheme) as page:
        give(page, copy_of(toy, 3), name="a-very-long-name-without-a-space-" * 6 + ".png")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
        assert (int(red) < 128) == (scheme == "dark")
        for image in ("#query", "#original"):
            until(page, f"document.querySelector('{image}').naturalWidth > 0")
        query, original = (page.locator(each).bounding_box() for each in ("#query", "#original"))
        assert (query["y"] + query["height"] <= original["y"]) == (width == 390), (
            "below each other on a phone"
        )


def test_a_token_is_asked_for_once(toy: Toy, browser: Any, tmp_path: Path) -> None:
    store = filled(toy, tmp_path / "store")
    text = add_token(store / "tokens.json", "desk", READ)
    with listening(store) as address, opened(browser, address) as page:
        for given in ("wrong", text):
            page.wait_for_selector("#ask-token[open]")
            page.fill("#token", given)
            page.keyboard.press("Enter")
        until(page, "document.getElementById('store').textContent.includes('20 images')")
        give(page, copy_of(toy, 3))
        assert page.inner_text("#verdict") == "Match"
        until(page, "document.querySelector('#original').naturalWidth > 0")


def test_the_page_about_the_api_describes_every_route(browser: Any, address: str) -> None:
    with opened(browser, address, "docs") as page:
        told = page.inner_text("main")
    for route in ("POST /v1/query", "GET /v1/images/{image_id}/thumbnail", "GET /metrics"):
        assert route in told


def test_the_files_name_nothing_from_elsewhere() -> None:
    for path in FOLDER.iterdir():
        assert "//" not in path.read_text().replace("// ", ""), path
