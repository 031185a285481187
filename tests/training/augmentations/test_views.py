import math

import kornia
import pytest
import torch

from active_indexing.training.augmentations.chains import (
    ChainedEdits,
    coded_views,
    smoothed,
    strongly_coloured,
)
from active_indexing.training.augmentations.colours import colour_matrices, scale_contrast
from active_indexing.training.augmentations.degradation import gaussian_blur, pixelate, shuffle_pixels
from active_indexing.training.augmentations.geometry import FrameRanges, box_map, draw_layout, inside
from active_indexing.training.augmentations.overlays import sample
from active_indexing.training.augmentations.random_draws import Draws
from active_indexing.training.augmentations.sscd import STRONG_BLUR, WEAK_BLUR, SSCDEdits
from active_indexing.training.augmentations.sscd_pil import PILEdits
from active_indexing.training.augmentations.views import DrawnEdits
from tests.training.images import made_up_images

IMAGES = torch.from_numpy(made_up_images(24, 32))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def drawn():
    return DrawnEdits(seed=0, drawings=8)


@pytest.fixture(scope="module", params=["drawn", "simclr", "strong_blur", "advanced", "advanced_pil"])
def edits(request, drawn):
    made = {
        "drawn": lambda: drawn,
        "simclr": lambda: SSCDEdits(WEAK_BLUR, advanced=False),
        "strong_blur": lambda: SSCDEdits(STRONG_BLUR, advanced=False),
        "advanced": lambda: SSCDEdits(STRONG_BLUR, advanced=True, drawings=8),
        "advanced_pil": lambda: PILEdits(STRONG_BLUR, advanced=True, drawings=8),
    }
    return made[request.param]()


@pytest.mark.parametrize("size", [24, 40])
def test_every_recipe_gives_views_of_the_size_asked_in_range_and_from_its_generator_alone(edits, size):
    before = IMAGES.clone()
    for make in (edits.reference_views, edits.edited_views):
        views = make(IMAGES, size, generator())
        assert views.shape == (24, 3, size, size)
        assert views.dtype == torch.float32
        assert 0 <= views.min() <= views.max() <= 1
        assert torch.equal(views, make(IMAGES, size, generator()))
        assert not torch.equal(views, make(IMAGES, size, generator(1)))
    assert torch.equal(IMAGES, before)


def test_most_reference_views_are_the_image_itself(drawn):
    views = drawn.reference_views(IMAGES, 32, generator())
    error = (views - IMAGES / 255).abs().amax(dim=(1, 2, 3))
    assert 8 <= int((error < 1e-4).sum()) < 24


def test_almost_no_edited_view_is_the_image_itself(drawn):
    views = drawn.edited_views(IMAGES, 32, generator())
    error = (views - IMAGES / 255).abs().mean(dim=(1, 2, 3))
    assert int((error > 0.01).sum()) >= 20


def test_layouts_show_pictures_upright_rotated_and_small(drawn):
    layout = draw_layout(Draws(generator(), 400))
    turned = layout.to_picture[:, 0, 1].abs() > 1e-6
    assert 0.2 < turned.float().mean() < 0.5
    visible = inside(layout.to_picture, 48).float().mean(dim=(1, 2, 3))
    assert bool((visible > 0.02).all())
    assert 0.1 < (visible < 0.5).float().mean() < 0.5
    # What is visible lies in the stored image: a crop is never sampled outside it.
    source = inside(layout.to_source, 48)
    assert bool((source | ~inside(layout.to_picture * 1.0001, 48)).all())


@pytest.mark.parametrize("statistic", [torch.mean, torch.std], ids=["mean", "std"])
def test_batched_and_per_image_views_have_the_same_statistics(statistic):
    images = IMAGES.repeat(10, 1, 1, 1)
    batched = SSCDEdits(WEAK_BLUR, advanced=False).edited_views(images, 24, generator())
    one_by_one = PILEdits(WEAK_BLUR, advanced=False).edited_views(images, 24, generator())
    assert statistic(batched).item() == pytest.approx(statistic(one_by_one).item(), abs=0.03)


def test_a_box_map_shows_the_image_in_that_box_and_nowhere_else():
    white = torch.ones(1, 1, 8, 8)
    x, y, half = torch.tensor([0.5]), torch.tensor([-0.5]), torch.tensor([0.5])
    view = sample(white, box_map(x, y, half, half), 16, "zeros")[0, 0]
    assert view[1:7, 9:15].min() == pytest.approx(1.0)
    assert view[9:].max() == 0
    assert view[:, :7].max() == 0


def test_a_third_of_a_hue_turn_permutes_the_channels_as_hsv_does():
    pixels = torch.rand(1, 3, 4, 4, generator=generator())
    matrix = colour_matrices(torch.tensor([2 * math.pi / 3]), torch.ones(1))
    turned = torch.einsum("nij,njhw->nihw", matrix, pixels)
    expected = kornia.enhance.adjust_hue(pixels, torch.tensor([2 * math.pi / 3]))
    torch.testing.assert_close(turned, expected, rtol=1e-4, atol=1e-4)


def test_saturation_zero_is_the_luma_in_every_channel():
    pixels = torch.rand(1, 3, 4, 4, generator=generator())
    grey = torch.einsum("nij,njhw->nihw", colour_matrices(torch.zeros(1), torch.zeros(1)), pixels)
    luma = 0.299 * pixels[:, 0] + 0.587 * pixels[:, 1] + 0.114 * pixels[:, 2]
    torch.testing.assert_close(grey, luma[:, None].expand(-1, 3, -1, -1))


def test_contrast_scales_the_distance_to_the_mean():
    pixels = torch.tensor([0.4, 0.6]).expand(1, 3, 1, 2)
    torch.testing.assert_close(scale_contrast(pixels, torch.tensor([2.0]))[0, 0, 0], torch.tensor([0.3, 0.7]))


def test_each_view_is_blurred_with_its_own_width_as_kornia_does():
    pixels = torch.rand(2, 3, 20, 20, generator=generator())
    sigma = torch.tensor([0.7, 1.5])
    radius = int(2.3 * 1.5)
    blurred = gaussian_blur(pixels, sigma)
    for row in range(2):
        expected = kornia.filters.gaussian_blur2d(
            pixels[row : row + 1], 2 * radius + 1, sigma[row].repeat(1, 2), border_type="reflect"
        )
        torch.testing.assert_close(blurred[row : row + 1], expected, rtol=1e-4, atol=1e-5)


def test_pixelation_leaves_so_many_cells_of_their_mean_colour():
    pixels = torch.rand(1, 3, 8, 8, generator=generator())
    result = pixelate(pixels, 2)
    assert len(result[0, 0].unique()) == 4
    torch.testing.assert_close(result[0, :, 0, 0], pixels[0, :, :4, :4].mean(dim=(1, 2)))


def test_shuffled_pixels_keep_their_colours_and_most_of_their_places():
    pixels = torch.arange(400.0).view(1, 1, 20, 20).expand(1, 3, 20, 20)
    shuffled = shuffle_pixels(Draws(generator(), 1), pixels, torch.tensor([0.25]))
    moved = (shuffled != pixels)[0, 0].float().mean().item()
    assert 0.15 < moved < 0.35
    assert torch.equal(shuffled[:, 0], shuffled[:, 2])


def test_chained_edits_stay_in_range_and_repeat():
    chained = ChainedEdits(0, drawings=4)
    images = torch.from_numpy(made_up_images(count=24, edge=40))

    def made():
        return chained.edited_views(images, 24, generator(1))

    views = made()
    assert views.shape == (24, 3, 24, 24)
    assert float(views.min()) >= 0
    assert float(views.max()) <= 1
    assert torch.equal(views, made())
    references = chained.reference_views(images, 24, generator(1))
    clean = torch.nn.functional.interpolate(images.float() / 255, (24, 24), mode="bilinear", antialias=True)
    close = (references - clean).abs().mean(dim=(1, 2, 3)) < 0.01
    assert 0.3 < float(close.float().mean()) < 0.95  # six of ten are the image itself


def test_pictures_that_are_kept_are_whole_upright_and_bare_or_on_a_page():
    ranges = FrameRanges(whole_page=0.3, plain=0.2)
    layout = draw_layout(Draws(generator(), 400), ranges)
    around, kept = layout.surround, layout.kept
    assert 0.4 < float(kept.float().mean()) < 0.6
    assert 0.5 < float(around.page[kept].float().mean()) < 0.7
    assert not bool(around.caption[kept].any())
    bare = kept & ~around.page
    # Bare ones show the whole source and nothing else: the map is the identity, flipped perhaps.
    torch.testing.assert_close(
        layout.to_source[bare].abs(), torch.eye(2, 3).expand(int(bare.sum()), 2, 3), rtol=0, atol=1e-6
    )
    # Those on a page show the source's four corners somewhere on it.
    whole = layout.to_source[kept & around.page]
    scale, shift = whole[:, [0, 1], [0, 1]], whole[:, :, 2]
    assert bool((whole[:, [0, 1], [1, 0]].abs() < 1e-6).all())
    assert bool((((1 + shift.abs()) / scale.abs()) <= 1 + 1e-5).all())


def test_a_strong_colour_edit_is_strong_and_in_range():
    views = torch.rand(64, 3, 8, 8, generator=generator()) * 0.5 + 0.2
    edited = strongly_coloured(Draws(generator(), 64), views)
    assert float(edited.min()) >= 0
    assert float(edited.max()) <= 1
    assert bool(((edited - views).abs().mean(dim=(1, 2, 3)) > 0.02).all())


def test_sources_shown_small_are_averaged_and_others_are_kept():
    pixels = torch.rand(3, 1, 9, 9, generator=generator())
    result = smoothed(pixels, torch.tensor([1.0, 2.0, 4.0]))
    assert torch.equal(result[0], pixels[0])
    torch.testing.assert_close(result[1, 0, 4, 4], pixels[1, 0, 3:6, 3:6].mean())
    torch.testing.assert_close(result[2, 0, 4, 4], pixels[2, 0, 2:7, 2:7].mean())


def test_coded_views_are_near_their_pixels_and_not_equal():
    ramp = torch.linspace(0, 1, 32).expand(6, 3, 32, 32)
    coded = coded_views(Draws(generator(), 6), ramp.contiguous())
    difference = (coded - ramp).abs().mean(dim=(1, 2, 3))
    assert bool((difference > 0).all())
    assert bool((difference < 0.2).all())
