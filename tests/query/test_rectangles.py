from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_indexing.query.rectangles import Rectangle, rectangles
from active_indexing.query.views import KINDS, SMALL, small_grey, trimmed_box, views_of


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth waves with grain, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = 128 + 50 * np.sin(rows / 9 + seed) + 40 * np.sin(columns / 7)
    return (waves[..., None] + rng.normal(0, 12, (height, width, 3))).clip(0, 255).astype(np.uint8)


def test_a_photo_on_a_page_is_found_to_the_pixel() -> None:
    page = np.full((200, 240), 245, np.float32)
    page[60:150, 40:160] = photo(90, 120)[..., 1] * 0.7
    page[20:24, 20:200:3] = 30  # a line of text
    assert rectangles(page, 4)[0] == Rectangle(60, 40, 150, 160)


def test_a_caption_above_is_no_part_of_the_picture() -> None:
    picture = np.concatenate([np.full((50, 200), 255, np.float32), photo(150, 200)[..., 1] * 0.7])
    picture[15:35, 30:170:5] = 0
    assert rectangles(picture, 4)[0] == Rectangle(50, 0, 200, 200)


def test_a_picture_without_straight_edges_has_no_rectangles() -> None:
    rows, columns = np.mgrid[:200, :200]
    smooth = (128 + 60 * np.sin(rows / 30) * np.cos(columns / 25)).astype(np.float32)
    assert rectangles(smooth, 4) == []
    assert rectangles(np.zeros((200, 200), np.float32), 4) == []
    assert rectangles(np.zeros((3, 400), np.float32), 4) == []


@settings(max_examples=25, deadline=None)
@given(
    top=st.integers(8, 60), left=st.integers(8, 60), height=st.integers(70, 120), width=st.integers(70, 120),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_rectangles_turn_and_mirror_with_the_picture(
    top: int, left: int, height: int, width: int, seed: int
) -> None:
    page = np.full((200, 200), 240, np.float32)
    page[top : top + height, left : left + width] = photo(height, width, seed)[..., 1] * 0.6
    best = rectangles(page, 1)[0]
    assert best.overlap(Rectangle(top, left, top + height, left + width)) > 0.9
    turned = rectangles(np.ascontiguousarray(page.T), 1)[0]
    assert turned.overlap(Rectangle(best.left, best.top, best.right, best.bottom)) > 0.9


def test_overlap_is_intersection_over_union() -> None:
    box = Rectangle(0, 0, 10, 10)
    assert box.overlap(box) == 1
    assert box.overlap(Rectangle(0, 5, 10, 15)) == pytest.approx(50 / 150)
    assert box.overlap(Rectangle(20, 20, 30, 30)) == 0


def test_a_uniform_border_is_trimmed_and_nothing_else() -> None:
    framed = np.full((120, 160), 20, np.float32)
    framed[10:110, 30:140] = photo(100, 110)[..., 1]
    assert trimmed_box(framed) == Rectangle(10, 30, 110, 140)
    assert trimmed_box(photo(100, 100)[..., 1].astype(np.float32)) is None
    assert trimmed_box(np.full((50, 50), 7, np.float32)) is None


def test_the_small_copy_is_the_mean_of_blocks() -> None:
    pixels = photo(481, 700)
    grey, scale = small_grey(pixels)
    assert scale == 3
    assert grey.shape == (160, 233)
    assert max(grey.shape) <= SMALL
    assert grey[5, 7] == pytest.approx(pixels[15:18, 21:24, 1].mean())
    assert np.array_equal(small_grey(pixels[:50, :60])[0], pixels[:50, :60, 1])


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 900), (2000, 3), (33, 33), (240, 240), (375, 500), (1500, 900)]
)
def test_views_are_windows_of_the_query_whatever_its_shape(shape: tuple[int, int]) -> None:
    pixels = photo(*shape)
    views = views_of(pixels)
    assert views[0].kind == "whole"
    assert views[0].pixels is pixels
    assert [view.turns for view in views[-2:]] == [1, 3]
    assert len(views) <= 8
    for view in views:
        assert view.kind in KINDS
        top, left, bottom, right = view.box
        window = np.rot90(pixels[top:bottom, left:right], view.turns)
        assert np.array_equal(view.pixels, window)
        assert min(view.pixels.shape) > 0
