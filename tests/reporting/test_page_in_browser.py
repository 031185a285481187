"""The report in a real browser: narrow, dark, on paper, by keyboard."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="pip install playwright drives the browser")

from playwright.sync_api import sync_playwright

from active_indexing.reporting import gallery
from active_indexing.reporting.page import write_report
from tests.reporting.test_lost_copies import item
from tests.reporting.test_lost_copies import run_with as run_with_lost_copies

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The report of three photos, each 4 grey levels brighter, on a narrow screen."""
    root = tmp_path_factory.mktemp("report")
    report = write_report([run_with_lost_copies(root, [item(0, 1, 2), item(1, 7_654_321, None)]).folder])
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto(report.as_uri())
        yield page
        browser.close()


def pixels(page: Any, selector: str) -> np.ndarray:
    """What is seen of the first such element."""
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB"))


def test_nothing_is_wider_than_a_telephone(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_by_keyboard_every_pixel_and_the_amplified_difference_are_seen(page: Any) -> None:
    page.locator("[name=view]").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".exact").first.is_visible()
    assert not page.locator(".whole").first.is_visible()
    box = page.locator(".exact img").first.bounding_box()
    assert (box["width"], box["height"]) == (90, 60)  # at 100 %
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    inside = pixels(page, ".exact")[10:-10, 10:-10].astype(int)
    assert abs(inside - 4 * gallery.AMPLIFICATION).max() <= 2
    page.keyboard.press("Space")
    page.locator(".exact input").first.focus()
    page.keyboard.press("Home")  # the line to the left: the released picture alone
    page.keyboard.press("ArrowRight")
    assert page.locator(".exact").first.evaluate("each => each.style.getPropertyValue('--x')") == "1%"


def test_dark_screens_get_a_dark_page_and_paper_a_light_one(page: Any) -> None:
    def ground() -> int:
        return int(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))

    page.emulate_media(color_scheme="dark")
    assert ground() < 40
    page.emulate_media(color_scheme="dark", media="print")
    assert ground() == 255
    assert not page.locator("nav").is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
    page.emulate_media(color_scheme="light", media="screen")
    assert ground() > 240


def test_the_contents_lead_there(page: Any) -> None:
    page.locator("nav a", has_text="Gallery").click()
    assert page.url.endswith("#gallery")
    assert page.locator("#gallery").evaluate("each => each.getBoundingClientRect().top") < 120
