"""The report in a real browser: narrow, dark, on paper, by keyboard."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="pip install playwright drives the browser")

from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.evaluation.tables import RETRIEVAL_COLUMNS, retrieval_row
from active_indexing.reporting import gallery
from active_indexing.reporting.page import write_report
from tests.browser import MARKS, chromium
from tests.reporting.outputs import query, write_output, write_pictures
from tests.reporting.test_lost_copies import item
from tests.reporting.test_lost_copies import run_with as run_with_lost_copies

pytestmark = MARKS


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The report of three photos, each 4 grey levels brighter, with every column, on a narrow screen."""
    root = tmp_path_factory.mktemp("report")
    rows = write_pictures(root, root / "passive", 3, shift=0)
    lost, found = ([query(image, "brightness", "2.0", rank) for image in range(3)] for rank in (None, 0))
    passive = write_output(root / "passive", active=False, retrieval=lost, manifest=rows)
    active = run_with_lost_copies(root, [item(0, 1, 2), item(1, 7_654_321, None)])
    write_csv(active.folder / "retr_df.csv", RETRIEVAL_COLUMNS, [retrieval_row(0, row) for row in found])
    told = json.loads((active.folder / "run.json").read_text())
    told["views_retrieval"] = [{"attack": "brightness", "attack_param": "2.0", "n": 3, "r@1": 1.0}]
    (active.folder / "run.json").write_text(json.dumps(told))
    report = write_report([passive.folder, active.folder])
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto(report.as_uri())
        yield page


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
