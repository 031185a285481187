import gc
import os
import pickle
import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from active_indexing.attacks import augly_compat
from tests.reference import attacks as oracle

CORNERS = [(0.0, 0.0), (400.0, 0.0), (400.0, 300.0), (0.0, 300.0)]


def separators(font: str) -> list[int]:
    """Places of paragraph separators in the list of characters of a font."""
    characters = pickle.loads(Path(augly_compat.font_path(font)).with_suffix(".pkl").read_bytes())
    return [place for place, code in enumerate(characters) if unicodedata.bidirectional(chr(code)) == "B"]


def test_augly_ships_364_fonts_and_872_emojis_in_a_fixed_order():
    assert len(augly_compat.fonts()) == 364
    assert len(augly_compat.emojis()) == 872
    assert list(augly_compat.fonts()) == sorted(augly_compat.fonts())
    assert augly_compat.emojis()[0] == "activity/american_football.png"


def test_every_font_writes_text_and_every_paragraph_separator_it_offers():
    image = Image.new("RGB", (120, 60), "white")
    with_separators = 0
    for font in augly_compat.fonts():
        places = separators(font)
        with_separators += bool(places)
        text = [1, *places, 2, 3]
        written = augly_compat.call("overlay_text", image, text=text, font_file=augly_compat.font_path(font))
        assert written.size == image.size
    assert with_separators == 21


def test_text_is_laid_out_without_libfribidi_so_that_machines_agree():
    augly_compat.augly_image()
    path = augly_compat.font_path("Lobster_1.3.ttf")
    font = sys.modules["augly.image.functional"].ImageFont.truetype(path, 20)
    assert font.layout_engine == ImageFont.Layout.BASIC


def test_text_is_measured_by_its_ink_and_the_height_of_an_A():
    font = augly_compat._open_font(augly_compat.font_path("Raleway-ExtraBold.ttf"), 40)
    left, _, right, _ = font.getbbox("LOL")
    line = font.getbbox("A")[3]
    assert font.getsize_multiline("LOL") == (right - left, line)
    assert font.getsize_multiline("LOL\nL") == (right - left, 2 * line + 4)


def test_perspective_of_unmoved_corners_is_the_identity():
    coefficients = augly_compat.perspective_coefficients(CORNERS, CORNERS)
    np.testing.assert_allclose(coefficients, [1, 0, 0, 0, 1, 0, 0, 0], atol=1e-12)


@given(st.lists(st.floats(-60, 60), min_size=8, max_size=8))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_perspective_takes_the_moved_corners_back(shifts):
    moved = [(x + shifts[2 * i], y + shifts[2 * i + 1]) for i, (x, y) in enumerate(CORNERS)]
    coefficients = augly_compat.perspective_coefficients(CORNERS, moved)
    for corner, (x, y) in zip(CORNERS, moved, strict=True):
        assert oracle.map_point(coefficients, x, y) == pytest.approx(corner, abs=1e-6)


def test_perspective_of_corners_on_a_line_is_an_error():
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        augly_compat.perspective_coefficients(CORNERS, [(0, 0), (1, 1), (2, 2), (3, 3)])


def test_templates_and_emojis_are_closed_after_use(photo):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        augly_compat.call("overlay_onto_screenshot", photo)
        augly_compat.call("overlay_emoji", photo)
        gc.collect()
    assert not [warning for warning in caught if warning.category is ResourceWarning]


@pytest.fixture
def augly_not_imported(monkeypatch):
    """Forget AugLy until the end of the test."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("augly", "magic")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("augly_not_imported", "global_rngs_untouched")
def test_importing_augly_leaves_the_global_generators_alone():
    augly_compat.augly_image.__wrapped__()


@pytest.mark.usefixtures("augly_not_imported")
def test_attacks_work_without_libmagic_and_leave_no_stand_in_behind(monkeypatch, photo):
    monkeypatch.setitem(sys.modules, "magic", None)  # import magic raises ImportError, as without libmagic
    library = augly_compat.augly_image.__wrapped__()
    assert library.overlay_emoji(photo).size == photo.size
    assert sys.modules.get("magic") is None


@pytest.mark.usefixtures("augly_not_imported")
def test_magic_is_used_where_it_can_be_imported():
    augly_compat.augly_image.__wrapped__()
    assert sys.modules["augly.utils.asserts"].magic is sys.modules["magic"]


def test_another_version_of_augly_is_refused(monkeypatch):
    monkeypatch.setattr(augly_compat.importlib.metadata, "version", lambda name: "1.1.0")
    with pytest.raises(
        ImportError, match=r"need augly 1\.0\.0, found 1\.1\.0; pip install 'active-indexing\[attacks\]'"
    ):
        augly_compat.augly_image.__wrapped__()


def test_a_screenshot_template_is_decoded_once_and_never_painted_on(photo, monkeypatch):
    template, boxes = augly_compat.template_path("web.png"), augly_compat.template_path("bboxes.json")
    first, box = augly_compat.read_template(template, boxes)
    first.paste((1, 2, 3), box)
    monkeypatch.setattr(augly_compat.Image, "open", None)
    second, _ = augly_compat.read_template(template, boxes)
    assert first.tobytes() != second.tobytes()


def test_a_template_that_changed_is_read_again(tmp_path):
    path, boxes = tmp_path / "own.png", tmp_path / "own.json"
    boxes.write_text('{"own.png": [0, 0, 2, 2]}')
    colours = []
    for number, colour in enumerate([(9, 8, 7), (1, 2, 3)]):
        Image.new("RGB", (4, 4), colour).save(path)
        os.utime(path, ns=(number, number))
        colours.append(augly_compat.read_template(str(path), str(boxes))[0].getpixel((0, 0)))
    assert colours == [(9, 8, 7), (1, 2, 3)]
