"""Overlaps of patches and the loss over them, against loops over pixels and patches."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.training.augmentations.traces import PixelTrace
from active_indexing.training.objectives.contrastive import LossConfig, Views
from active_indexing.training.objectives.feature_maps import caught_maps, patch_tokens
from active_indexing.training.objectives.interface import StepViews, Student
from active_indexing.training.objectives.mixing import MixingConfig
from active_indexing.training.objectives.patches import (
    PatchContrastConfig,
    copy_nce,
    overlap_weights,
    pairs_of_views,
    source_counts,
)
from active_indexing.training.objectives.relational import RDCDConfig
from active_indexing.training.objectives.sscd import SSCDConfig
from tests.reference import losses as slow

WHOLE = PixelTrace.of(torch.zeros(1, 3, 8, 8)).result()


def weights_of(first, second, grid=2, cells=8, gamma=1.0):
    counts = [source_counts(view, grid, grid, cells) for view in (first, second)]
    return overlap_weights(*counts, first.shape[-1] ** 2 // grid**2, gamma)


def test_a_view_and_itself_match_patch_by_patch():
    assert torch.equal(weights_of(WHOLE, WHOLE)[0], torch.eye(4))


def test_a_view_shifted_by_half_a_patch_matches_two_patches_by_half():
    # The second view shows the picture 2 pixels further right: x + 0.5; its last columns show nothing.
    shifted = WHOLE.clone()
    shifted[:, 0] += 0.5
    shifted = shifted.masked_fill((shifted[:, :1] > 1).expand_as(shifted), torch.nan)
    weights = weights_of(WHOLE, shifted)[0]
    # Patch 0 (columns 0 to 3): columns 2 and 3 are the left patch's of the other view, 0 and 1 nobody's.
    assert weights[0].tolist() == [0.5, 0, 0, 0]
    assert weights[1].tolist() == [0.5, 0.5, 0, 0]
    cubed = weights_of(WHOLE, shifted, gamma=3.0)[0]
    assert cubed[0].tolist() == [0.5, 0, 0, 0]  # 1/8 beside 1/8 of nothing
    assert cubed[1].tolist() == [0.5, 0.5, 0, 0]


def test_what_is_not_seen_has_no_weight():
    nothing = torch.full_like(WHOLE, torch.nan)
    assert not weights_of(WHOLE, nothing).any()
    assert not weights_of(nothing, WHOLE).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1.0, 3.0]))
def test_overlaps_equal_a_loop_over_pixels(seed, gamma):
    generator = torch.Generator().manual_seed(seed)
    views = torch.rand(2, 1, 2, 6, 6, generator=generator) * 2 - 1
    views[:, :, :, torch.rand(6, 6, generator=generator) < 0.2] = torch.nan
    actual = weights_of(views[0], views[1], grid=3, cells=2, gamma=gamma)[0]
    expected = slow.overlap_weights(views[0][0].tolist(), views[1][0].tolist(), 3, 2, gamma)
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-5, atol=1e-6)
    assert (actual.sum(dim=1) <= 1 + 1e-5).all()


@pytest.mark.parametrize("scale", [1.0, 16.0])
def test_the_loss_equals_a_loop_over_patches(scale):
    generator = torch.Generator().manual_seed(0)
    first, second = F.normalize(torch.randn(2, 3, 4, 5, generator=generator).double(), dim=3)
    weights = torch.rand(3, 4, 4, generator=generator).double()
    expected = sum(
        slow.copy_nce(first[pair].tolist(), second[pair].tolist(), weights[pair].tolist(), scale)
        for pair in range(3)
    )
    assert copy_nce(first, second, weights, scale).item() == pytest.approx(expected / 3, rel=1e-9)
    assert copy_nce(first, second, torch.zeros_like(weights), scale).item() == 0


def test_pairs_are_edited_views_with_the_reference_of_their_image():
    views = Views(
        torch.tensor([4, 9, 4, 9, 9]), torch.tensor([True, True, False, False, False]), torch.arange(5)
    )
    copies, originals = pairs_of_views(views)
    assert (copies.tolist(), originals.tolist()) == ([2, 3, 4], [0, 1, 1])
    lonely = Views(torch.tensor([4, 9]), torch.tensor([True, False]), torch.arange(2))
    with pytest.raises(ValueError, match="needs one reference view of every image"):
        pairs_of_views(lonely)


def test_maps_are_caught_before_the_pooling_or_at_a_layer():
    network = build_network("resnet10", 8)
    with caught_maps(network, "") as last, caught_maps(network, "layer3") as earlier:
        network(torch.zeros(2, 3, 64, 64))
    assert (last[0].shape, earlier[0].shape) == ((2, 512, 2, 2), (2, 256, 4, 4))
    network(torch.zeros(2, 3, 64, 64))
    assert len(last) == len(earlier) == 1  # nothing stays behind
    with (
        pytest.raises(ValueError, match="ResNet10 has no layer 'layer9'; it begins with"),
        caught_maps(network, "layer9"),
    ):
        pass
    with pytest.raises(ValueError, match="Flatten has 0 poolings"), caught_maps(torch.nn.Flatten(), ""):
        pass


def test_tokens_of_maps_and_of_transformers_are_rows_of_unit_norm():
    maps = torch.randn(2, 5, 2, 3)
    tokens, height, width = patch_tokens(maps)
    assert (height, width) == (2, 3)
    torch.testing.assert_close(tokens[1, 4], F.normalize(maps[1, :, 1, 1], dim=0))
    sequence = torch.randn(2, 1 + 9, 5)
    tokens, height, width = patch_tokens(sequence)
    assert (height, width) == (3, 3)
    torch.testing.assert_close(tokens[0, 0], F.normalize(sequence[0, 1], dim=0))
    with pytest.raises(ValueError, match=r"a layer gave \(2, 5\)"):
        patch_tokens(torch.zeros(2, 5))


def step_views(count=3, size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(2 * count, 3, size, size, generator=generator)
    image, reference = torch.arange(count).repeat(2), torch.arange(2 * count) < count
    views = Views(image, reference, torch.arange(2 * count))
    return StepViews(pixels, views, 0, generator, PixelTrace.of(pixels).result())


def test_one_pass_gives_the_base_loss_and_the_patches_beside_it():
    torch.manual_seed(0)
    base = SSCDConfig(loss=LossConfig(entropy_weight=0.0))
    config = PatchContrastConfig(base=base, weight=2.0, layer="layer3")
    network = config.build_network("resnet10", 8, 3.0).train()
    student, batch = Student(network, 0.45, 0.27, half_precision=False), step_views()
    total, log = config.build(network, 8, None).loss(student, batch)
    assert total.item() == pytest.approx(log["InfoNCE"] + 2 * log["CopyNCE"], rel=1e-5)
    # Both views of an image show it whole: each patch is to find the patch in its place.
    with caught_maps(network, "layer3") as maps:
        student.describe(student.inputs(batch.pixels))
    tokens = patch_tokens(maps[0])[0].double()
    eye = torch.eye(16).tolist()
    pairs = [(3, 0), (4, 1), (5, 2), (0, 3), (1, 4), (2, 5)]
    expected = sum(slow.copy_nce(tokens[a].tolist(), tokens[b].tolist(), eye, 16.0) for a, b in pairs) / 6
    assert log["CopyNCE"] == pytest.approx(expected, rel=1e-4)
    assert math.isfinite(expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda base: PatchContrastConfig(base=base, gamma=0), "must be above 0, got 16.0 and 0"),
        (lambda base: PatchContrastConfig(base=base, from_copies=2), r"share in \[0, 1\], got 2"),
        (lambda base: PatchContrastConfig(base=base, cells=0), "at least 1 cell, got 0"),
        (
            lambda base: PatchContrastConfig(base=SSCDConfig(mixing=MixingConfig())),
            "a mixed view shows two images",
        ),
    ],
)
def test_settings_without_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(SSCDConfig())


def test_an_objective_of_two_passes_is_refused():
    config = PatchContrastConfig(base=RDCDConfig(teacher_dim=8, queue_rows=4))
    network = config.build_network("resnet10", 4, 3.0)
    objective = config.build(network, 4, lambda pixels: pixels.flatten(1)[:, :8])
    student = Student(network, 0.45, 0.27, half_precision=False)
    with pytest.raises(ValueError, match="needs all 6 in one"):
        objective.loss(student, step_views())
