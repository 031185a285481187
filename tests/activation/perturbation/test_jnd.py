from __future__ import annotations

import numpy as np
import pytest
import torch

from active_indexing.activation.perturbation import jnd
from tests.reference import jnd as oracle


def flat(level: float, size: int = 9) -> torch.Tensor:
    return torch.full((3, size, size), level / 255)


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("level", "threshold"), [(0, 19.4624), (127, 2.9915), (255, 6.0)])
def test_the_luminance_threshold_at_black_middle_grey_and_white(level: float, threshold: float) -> None:
    grey = torch.full((1, 9, 9), float(level))
    # The centre of 9x9 is out of reach of the zeros around the image.
    assert jnd.luminance_masking(grey)[0, 4, 4] == pytest.approx(threshold, abs=1e-3)
    assert jnd.contrast_masking(grey)[0, 4, 4] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("level", "floored"), [(0, 19.4624), (127, 5.0), (255, 6.0)])
def test_the_map_never_falls_under_five_grey_levels(level: float, floored: float) -> None:
    assert 255 * jnd.jnd(flat(level))[0, 4, 4] == pytest.approx(floored, abs=1e-3)


def test_a_5x5_edge_drawn_by_hand() -> None:
    # Columns 0 0 200 200 200, grey. Background of the centre:
    # column 2 has weights 1+2+0+2+1 = 6, column 3: 1+2+2+2+1 = 8, column 4: 5, so 19 * 200 / 32 = 118.75;
    # gradient across (1 + 2 + 1) * (200 - 0) = 800, along 0.
    image = torch.zeros(3, 5, 5)
    image[:, :, 2:] = 200 / 255
    la = 17 * (1 - (118.75 / 127 + 1e-3) ** 0.5) + 3
    cm = 0.117 * 16 * 800**2.4 / (800**2 + 26**2)
    grey = jnd.luminance(image)
    assert jnd.luminance_masking(grey)[0, 2, 2] == pytest.approx(la, rel=1e-5)
    assert jnd.contrast_masking(grey)[0, 2, 2] == pytest.approx(cm, rel=1e-5)
    assert 255 * jnd.jnd(image)[0, 2, 2] == pytest.approx(la + cm - 0.3 * min(la, cm), rel=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (4, 3), (11, 8)])
def test_the_map_equals_a_loop_over_pixels(size: tuple[int, int]) -> None:
    image = noise(*size)
    image[:, : size[0] // 2] *= 0.2
    expected = oracle.jnd(image.numpy())
    np.testing.assert_allclose(jnd.jnd(image)[0].numpy(), expected, rtol=2e-5)


def test_horizontal_and_vertical_edges_count_alike() -> None:
    image = noise(12, 7)
    np.testing.assert_allclose(
        jnd.jnd(image.transpose(1, 2))[0].numpy(), jnd.jnd(image)[0].numpy().T, rtol=1e-5
    )
    stripes = torch.zeros(3, 9, 9)
    stripes[:, ::4] = 1.0
    for turned in (stripes, stripes.transpose(1, 2)):
        assert jnd.contrast_masking(jnd.luminance(turned)).max() > 10


def test_luminance_weighs_green_most_and_sums_to_white() -> None:
    colours = torch.eye(3)[:, :, None]  # pure red, green, blue side by side
    assert jnd.luminance(colours)[0, :, 0].tolist() == pytest.approx([76.245, 149.685, 29.07])
    assert float(jnd.luminance(flat(255))[0, 0, 0]) == pytest.approx(255)


def test_channels_share_the_bound_by_how_little_the_eye_weighs_them() -> None:
    assert jnd.CHANNEL_SCALE == pytest.approx((0.240803, 0.122658, 0.631579), abs=1e-6)


def test_no_mask_is_the_floor_everywhere() -> None:
    image = noise(6, 5)
    assert torch.equal(jnd.uniform(image), torch.full((1, 6, 5), 5 / 255))


@pytest.mark.parametrize(
    "image", [flat(0), flat(127), flat(255), noise(9, 9)], ids=["black", "grey", "white", "noise"]
)
def test_the_map_has_a_finite_derivative_everywhere(image: torch.Tensor) -> None:
    image = image.clone().requires_grad_(True)
    jnd.jnd(image).sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_flat_image_has_no_texture_not_even_at_its_border_and_little_room(level: float) -> None:
    texture = jnd.texture(flat(level, 20)[None])
    assert texture.shape == (1, 1, 20, 20)
    assert texture.abs().max() < 1e-5
    assert jnd.budget_share(texture).tolist() == pytest.approx([jnd.LEAST_ROOM])


def test_texture_grows_with_contrast_and_is_below_one() -> None:
    found = [jnd.texture((0.5 + share * (noise(30, 20) - 0.5))[None]) for share in (0.02, 0.1, 0.4, 1.0)]
    means = [float(each.mean()) for each in found]
    assert means == sorted(means)
    assert 0 <= found[0].min()
    assert found[-1].max() < 1
    assert jnd.budget_share(found[-1]).tolist() == [1.0]


def test_texture_by_hand_at_an_edge_and_far_from_it() -> None:
    image = torch.zeros(1, 3, 15, 20)
    image[:, :, :, 10:] = 200 / 255
    found = jnd.texture(image)[0, 0]
    masking = 0.117 * 16 * 800**2.4 / (800**2 + 26**2)  # in columns 9 and 10, as in the 5x5 edge above
    mean = masking * 2 / 5  # over five columns
    assert found[:, 9].tolist() == pytest.approx([mean / (mean + jnd.TEXTURE_KNEE)] * 15, rel=1e-4)
    assert found[:, :7].abs().max() < 1e-5
    assert found[:, 13:].abs().max() < 1e-5


def test_images_of_a_batch_have_their_own_texture_and_room() -> None:
    batch = torch.stack([flat(90, 12), noise(12, 12)])
    alone = [jnd.texture(each[None]) for each in batch]
    assert torch.equal(jnd.texture(batch), torch.cat(alone))
    room = jnd.budget_share(jnd.texture(batch))
    assert room[0] < room[1]
    half = torch.full((1, 1, 4, 4), jnd.FLAT_TEXTURE / 2)
    assert jnd.budget_share(half).tolist() == pytest.approx([max(0.5, jnd.LEAST_ROOM)])
