"""Traced coordinates against a picture whose colours are its coordinates, sent through the same edits."""

import pytest
import torch

from active_indexing.training.augmentations import chains, isc, sscd, views
from active_indexing.training.augmentations.chains import ChainedEdits
from active_indexing.training.augmentations.degradation import degrade, shuffle_pixels
from active_indexing.training.augmentations.isc import STRENGTHS, ISCEdits
from active_indexing.training.augmentations.light import LightEdits
from active_indexing.training.augmentations.random_draws import Draws
from active_indexing.training.augmentations.sscd import STRONG_BLUR, SSCDEdits
from active_indexing.training.augmentations.sscd_pil import PILEdits
from active_indexing.training.augmentations.traces import PixelTrace
from active_indexing.training.augmentations.views import DrawnEdits

EDGE = 48
MAKERS = {
    "drawn": lambda: DrawnEdits(drawings=4),
    "chained": lambda: ChainedEdits(drawings=4),
    "simclr": lambda: SSCDEdits(STRONG_BLUR, advanced=False),
    "advanced": lambda: SSCDEdits(STRONG_BLUR, advanced=True, drawings=4),
    "isc_v98": lambda: ISCEdits(STRENGTHS["isc_v98"], drawings=4),
    "shifted": lambda: LightEdits(shifted=True),
    "plain": lambda: LightEdits(shifted=False),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def coordinate_images(count=64):
    """Red is x and green is y, from 0.1 to 0.8 of the range; blue is 0.5 of it."""
    ramp = (torch.arange(EDGE) + 0.5) / EDGE * 0.7 + 0.1
    red, green = torch.meshgrid(ramp, ramp, indexing="xy")
    image = torch.stack([red, green, torch.full_like(red, 0.5)])
    return (image * 255).round().byte().expand(count, -1, -1, -1).clone()


def seen_coordinates(pixels):
    """What the colours of views say; a gain changes all three channels alike."""
    colours = pixels[:, :2] * (0.5 / pixels[:, 2:].clamp(min=1e-3))
    return (colours - 0.1) / 0.7 * 2 - 1


@pytest.fixture
def no_colours(monkeypatch):
    """Edits that neither move nor cover pixels, left out: the colours must stay coordinates."""

    def same(draws, pixels, *rest):
        return pixels

    monkeypatch.setattr(views, "edit_colours", same)
    monkeypatch.setattr(chains, "edit_colours", same)
    monkeypatch.setattr(chains, "strongly_coloured", same)
    monkeypatch.setattr(chains, "coded_views", same)
    for module in (views, chains):
        monkeypatch.setattr(module, "degrade", lambda draws, pixels: None)
    monkeypatch.setattr(sscd, "jittered", same)
    for name in ("_pixelated", "_compressed", "_blurred", "_with_edges", "_grey"):
        monkeypatch.setattr(isc, name, lambda draws, pixels: pixels)
    monkeypatch.setattr(isc, "jittered", same)
    monkeypatch.setattr(sscd, "_compressed", same)
    monkeypatch.setattr(sscd, "gaussian_blur", lambda pixels, sigma: pixels)


@pytest.mark.usefixtures("no_colours")
@pytest.mark.parametrize("kind", ["reference_views", "edited_views"])
@pytest.mark.parametrize("name", MAKERS)
def test_colours_that_are_coordinates_arrive_where_the_trace_says(name, kind):
    images, make = coordinate_images(), getattr(MAKERS[name](), kind)
    trace = PixelTrace.of(images)
    pixels = make(images, 32, generator(), trace)
    assert torch.equal(pixels, make(images, 32, generator()))  # a trace changes nothing
    traced = trace.result()
    assert traced.shape == (64, 2, 32, 32)
    visible = trace.visible
    grey = (pixels[:, 0] - pixels[:, 2]).abs().amax(dim=(1, 2)) < 1e-6  # of SSCD; colours are gone
    error = (seen_coordinates(pixels) - traced).abs().amax(dim=1)
    compared = visible & ~grey[:, None, None]
    assert 0.25 < visible.float().mean() <= 1
    assert int(grey.sum()) < 32
    # Where an overlay is nearly transparent the colours are a little off, the coordinates are not.
    assert (error[compared] < 0.05).float().mean() > 0.97
    if kind == "reference_views" and name in ("drawn", "chained"):
        assert visible.all()


@pytest.mark.usefixtures("no_colours")
@pytest.mark.parametrize("name", ["drawn", "chained", "advanced", "isc_v98"])
def test_what_is_covered_or_beside_the_picture_is_not_traced(name):
    images = coordinate_images()
    trace = PixelTrace.of(images)
    pixels = MAKERS[name]().edited_views(images, 32, generator(3), trace)
    hidden = trace.result().isnan().all(dim=1)
    assert torch.equal(hidden, ~trace.visible)
    assert int(hidden.sum()) > 100
    x, y = PixelTrace.of(pixels).coordinates.unbind(dim=1)
    # A pixel that shows the stored picture has its blue; pages, bands and stickers do not, most of them.
    stored_blue = (pixels[:, 2] - 0.5).abs() < 0.02
    assert stored_blue[hidden].float().mean() < 0.5
    assert x.shape == y.shape == hidden.shape


def test_shuffled_pixels_take_their_coordinates_along():
    images = coordinate_images(3)
    trace = PixelTrace.of(images)
    draws = Draws(generator(), 3, trace=trace).among(torch.tensor([2, 0]))
    shuffled = shuffle_pixels(draws, images[[2, 0]].float() / 255, torch.tensor([0.5, 0.5]))
    error = (seen_coordinates(shuffled) - trace.result()[[2, 0]]).abs()
    assert error.max() < 0.02
    assert torch.equal(trace.result()[1], PixelTrace.of(images).result()[1])
    moved = (trace.result() != PixelTrace.of(images).result()).any(dim=1).float().mean(dim=(1, 2))
    assert 0.4 < moved[0] < 0.6
    assert moved[1] == 0


def test_loss_of_detail_moves_nothing_but_shuffled_pixels():
    images = coordinate_images(200)
    trace = PixelTrace.of(images)
    degrade(Draws(generator(), 200, trace=trace), images.float() / 255)
    moved = (trace.result() != PixelTrace.of(images).result()).flatten(1).any(dim=1)
    assert 1 <= int(moved.sum()) <= 20  # 4 % of the views


def test_half_transparent_overlays_hide_from_a_half_on():
    trace = PixelTrace.of(torch.zeros(2, 3, 1, 3))
    trace.hide(torch.tensor([1]), torch.tensor([[[0.4, 0.5, 0.6]]]))
    assert trace.visible.tolist() == [[[True, True, True]], [[True, True, False]]]


def test_edits_of_pillow_are_not_traced():
    images = coordinate_images(1)
    with pytest.raises(ValueError, match="edits of Pillow are not traced; choose the batched ones"):
        PILEdits(STRONG_BLUR, advanced=False).edited_views(images, 16, generator(), PixelTrace.of(images))
