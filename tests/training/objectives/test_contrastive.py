import math

import pytest
import torch
import torch.nn.functional as F

from active_indexing.training.objectives.contrastive import (
    LossConfig,
    Views,
    contrastive_loss,
    entropy_loss,
    info_nce,
    pairs_of_copies,
)
from tests.reference import losses as slow


def views(images, references=None):
    count = len(images)
    references = references or [True] * count
    return Views(torch.tensor(images), torch.tensor(references), torch.arange(count))


@pytest.fixture
def batch():
    """Three images, two views each, four anchors of this process among six candidates."""
    torch.manual_seed(0)
    candidates = F.normalize(torch.randn(6, 5, dtype=torch.float64))
    everyone = views([0, 1, 0, 1, 2, 2])
    pairs = pairs_of_copies(Views(*(field[:4] for field in everyone)), everyone)
    return candidates[:4], candidates, pairs


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_info_nce_equals_the_slow_oracle(batch, average, temperature):
    anchors, candidates, pairs = batch
    expected = slow.info_nce(
        anchors.tolist(), candidates.tolist(), *(p.tolist() for p in pairs), temperature, average
    )
    actual = info_nce(anchors, candidates, pairs, temperature, average_positives=average)
    assert actual.item() == pytest.approx(expected, rel=1e-9)


def test_averaging_matters_with_three_views_of_an_image():
    descriptors = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)))
    everyone = views([0, 0, 0, 1, 1, 1])
    pairs = pairs_of_copies(everyone, everyone)
    summed = info_nce(descriptors, descriptors, pairs)
    averaged = info_nce(descriptors, descriptors, pairs, average_positives=True)
    assert summed.item() == pytest.approx(2 * averaged.item(), rel=1e-5)


def test_entropy_equals_the_slow_oracle(batch):
    anchors, candidates, pairs = batch
    expected = slow.entropy(anchors.tolist(), candidates.tolist(), pairs.negative.tolist())
    assert entropy_loss(anchors, candidates, pairs).item() == pytest.approx(expected, rel=1e-9)


def test_entropy_of_two_images_with_one_descriptor_is_finite_with_a_finite_gradient():
    same = torch.ones(2, 4, requires_grad=True)
    descriptors = F.normalize(same)
    everyone = views([0, 1])
    loss = entropy_loss(descriptors, descriptors, pairs_of_copies(everyone, everyone))
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-3), rel=1e-3)
    assert torch.isfinite(same.grad).all()


def test_a_view_is_no_positive_of_itself_but_of_every_other_view_of_its_image():
    everyone = views([3, 7, 3])
    pairs = pairs_of_copies(everyone, everyone)
    assert pairs.positive.tolist() == [[False, False, True], [False] * 3, [True, False, False]]
    assert pairs.negative.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_asymmetric_pairs_join_references_with_edits_only():
    everyone = views([3, 3, 3], [True, False, False])
    pairs = pairs_of_copies(everyone, everyone, asymmetric=True)
    assert pairs.positive.tolist() == [[False, True, True], [True, False, False], [True, False, False]]
    assert not pairs.negative.any()


def test_the_entropy_weight_grows_along_its_ramp(batch):
    anchors, candidates, pairs = batch
    config = LossConfig(entropy_weight=4.0, entropy_ramp_steps=10)
    nce = info_nce(anchors, candidates, pairs).item()
    entropy = entropy_loss(anchors, candidates, pairs).item()
    for step, weight in [(0, 0.0), (5, 2.0), (10, 4.0), (99, 4.0)]:
        total, log = contrastive_loss(anchors, candidates, pairs, config, step)
        assert total.item() == pytest.approx(nce + weight * entropy)
        assert log["InfoNCE"] == pytest.approx(nce)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"entropy_weight": -1.0}, "entropy weight must be 0 or more, got -1.0"),
        ({"entropy_ramp_steps": -1}, "ramp must be 0 or more steps, got -1"),
    ],
)
def test_settings_without_meaning_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        LossConfig(**setting)
