"""ViT4ICD's terms and networks."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from active_indexing.descriptors.networks.architectures import GeM, build_network
from active_indexing.training.objectives.contrastive import Views
from active_indexing.training.objectives.disturbances import add_drop_path, add_wave_blocks, wave_block
from active_indexing.training.objectives.interface import SideImages, StepViews, Student
from active_indexing.training.objectives.margin import (
    ClassifiedNetwork,
    MarginConfig,
    margin_cross_entropy,
    nearest_negative_distance,
    squared_distance,
)
from active_indexing.training.objectives.normalised_head import (
    LearnedGeM,
    NormalisedHead,
    with_learned_pooling,
)
from tests.reference import losses as slow


def unit(rows, dim=5, seed=0):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)).double(), dim=1)


@pytest.mark.parametrize(("scale", "margin"), [(1.0, 0.0), (64.0, 0.35), (64.0, 0.6)])
def test_the_classification_equals_the_slow_oracle(scale, margin):
    features, classes, labels = unit(4), 3 * unit(6, seed=1), torch.tensor([5, 0, 2, 2])
    expected = slow.margin_cross_entropy(features.tolist(), classes.tolist(), labels.tolist(), scale, margin)
    assert margin_cross_entropy(features, classes, labels, scale, margin).item() == pytest.approx(expected)


def test_distances_equal_the_slow_oracle():
    first, second = unit(4), unit(4, seed=1)
    expected = sum(slow.distance(a, b) ** 2 for a, b in zip(first.tolist(), second.tolist(), strict=True)) / 4
    assert squared_distance(first, second).item() == pytest.approx(expected)
    for images in ([0, 1, 2, 3], [0, 0, 7, 7], [1, 1, 1, 1]):
        expected = slow.nearest_negative(first.tolist(), images)
        actual = nearest_negative_distance(first, torch.tensor(images))
        assert actual.item() == pytest.approx(expected)


def trained_norms(network):
    """Batch norms as after a training: every number another."""
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm1d)):
        for value in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(value)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return network.eval()


@pytest.mark.parametrize("norms", [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("bias", [True, False])
def test_norms_and_projection_become_one_layer(norms, bias):
    torch.manual_seed(0)
    built = NormalisedHead(build_network("resnet10", 8), feature_norm=norms[0], projection_norm=norms[1])
    if not bias:
        built.projection.register_parameter("bias", None)
    network = trained_norms(built)
    inputs = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.merged()(inputs), network(inputs), rtol=1e-4, atol=1e-5)


def test_a_trained_pooling_is_settled_when_the_network_is_deployed():
    torch.manual_seed(0)
    network = NormalisedHead(
        with_learned_pooling(build_network("resnet10", 8)), feature_norm=False, projection_norm=False
    ).eval()
    assert isinstance(network.trunk.avgpool, LearnedGeM)
    with torch.no_grad():
        network.trunk.avgpool.p.fill_(4.25)
    merged, inputs = network.merged(), torch.randn(2, 3, 32, 32)
    assert isinstance(merged.avgpool, GeM)
    assert merged.avgpool.p == 4.25
    with torch.no_grad():
        torch.testing.assert_close(merged(inputs), network(inputs), rtol=1e-4, atol=1e-5)
        maps = torch.rand(2, 3, 4, 4)
        torch.testing.assert_close(LearnedGeM()(maps), GeM(3.0)(maps))
    with pytest.raises(ValueError, match="Flatten has no pooling"):
        with_learned_pooling(nn.Flatten())


def test_wave_blocks_magnify_all_rows_but_a_band_and_only_in_training():
    module, maps = nn.Identity(), torch.ones(2, 3, 10, 4)
    torch.manual_seed(0)
    waved = wave_block(module.train(), (), maps)
    rows = waved[0, 0, :, 0]
    assert (rows == 1).sum() == 3
    assert (rows == 1.5).sum() == 7
    same = (rows == 1).nonzero()[:, 0]
    assert same.tolist() == list(range(int(same[0]), int(same[0]) + 3))
    assert torch.equal(waved, rows[None, None, :, None].expand_as(waved))
    assert wave_block(module.eval(), (), maps) is None
    network = build_network("resnet10", 4)
    add_wave_blocks(network)
    inputs = torch.randn(2, 3, 64, 64)
    torch.manual_seed(1)
    first = network.train()(inputs)
    assert not torch.equal(first, network(inputs))
    with pytest.raises(ValueError, match="Flatten has no layer2 and layer3"):
        add_wave_blocks(nn.Flatten())


def test_paths_are_dropped_the_more_often_the_later():
    network = build_network("test_vit", 4)
    add_drop_path(network, 0.2)
    rates = [block.drop_path1.drop_prob for block in network.trunk.blocks]
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.2)
    with pytest.raises(ValueError, match="ResNet10 is no transformer"):
        add_drop_path(build_network("resnet10", 4), 0.1)


def views_of(images):
    count = len(images)
    return Views(torch.tensor(images), torch.ones(count, dtype=torch.bool), torch.arange(count))


def teacher(pixels):
    return 5 * pixels.mean(dim=(2, 3)) @ torch.randn(3, 8, generator=torch.Generator().manual_seed(2))


def test_the_third_stage_is_the_sum_of_its_terms():
    torch.manual_seed(0)
    config = MarginConfig(classes=4, cnn=False, drop_path=0.1, compatibility=100.0, pairs=1.0)
    network = config.build_network("test_vit", 8, 3.0).eval()
    assert isinstance(network, ClassifiedNetwork)
    student = Student(network, 0.45, 0.27, half_precision=False, grey=True)
    pixels, support, pairs = (torch.rand(count, 3, 32, 32) for count in (4, 2, 6))
    side = SideImages(support, pairs, torch.tensor([7, 7, 8, 8, 7, 7]))
    batch = StepViews(pixels, views_of([3, 0, 3, 1]), 0, torch.Generator(), None, side)
    total, log = config.build(network, 8, teacher).loss(student, batch)
    expected = log["classes_of_features"] + log["classes_of_descriptors"]
    expected += 100 * log["compatibility"] + log["pairs"]
    assert total.item() == pytest.approx(expected, rel=1e-5)
    with torch.no_grad():
        features, rows = (F.normalize(each, dim=1) for each in network.heads(student.inputs(pixels)))
        found = F.normalize(network(student.inputs(support)), dim=1)
        wanted = F.normalize(teacher(student.seen(support)), dim=1)
        queries, references = F.normalize(network(student.inputs(pairs)), dim=1).view(3, 2, 8).unbind(1)
    labels = [3, 0, 3, 1]
    by_feature = slow.margin_cross_entropy(
        features.tolist(), network.feature_classes.tolist(), labels, 64, 0.35
    )
    by_row = slow.margin_cross_entropy(rows.tolist(), network.descriptor_classes.tolist(), labels, 64, 0.6)
    assert log["classes_of_features"] == pytest.approx(by_feature, rel=1e-4)
    assert log["classes_of_descriptors"] == pytest.approx(by_row, rel=1e-4)
    assert log["compatibility"] == pytest.approx((found - wanted).square().sum(dim=1).mean().item(), rel=1e-4)
    pulled = (queries - references).square().sum(dim=1).mean().item()
    pushed = [slow.nearest_negative(each.tolist(), [7, 8, 7]) for each in (queries, references)]
    assert log["pairs"] == pytest.approx(pulled - sum(pushed) / 2, rel=1e-4, abs=1e-6)
    assert math.isfinite(expected)


def test_grey_students_see_grey():
    student = Student(nn.Identity(), 0.0, 1.0, half_precision=False, grey=True)
    grey = student.inputs(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2))
    torch.testing.assert_close(grey, torch.full((1, 3, 2, 2), 0.299))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MarginConfig(classes=1), "at least 2 classes, got 1"),
        (lambda: MarginConfig(scale=0), "scale must be above 0 and margins 0 or more, got 0"),
        (
            lambda: MarginConfig(classes=4).build(nn.Identity(), 8, teacher),
            "has no teacher; leave --teacher out",
        ),
        (lambda: MarginConfig(classes=4, compatibility=1).build(nn.Identity(), 8, None), "needs a teacher"),
    ],
)
def test_settings_without_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_too_few_classes_and_descriptors_of_another_length_are_named():
    config = MarginConfig(classes=2, cnn=False, compatibility=1.0)
    network = config.build_network("test_vit", 4, 3.0).eval()
    student, pixels = Student(network, 0.45, 0.27, half_precision=False), torch.rand(2, 3, 32, 32)
    objective = config.build(network, 4, teacher)
    many = StepViews(pixels, views_of([0, 5]), 0, torch.Generator())
    with pytest.raises(ValueError, match="identity 5, but there are 2 classes; pass --classes 6"):
        objective.loss(student, many)
    few = StepViews(pixels, views_of([0, 1]), 0, torch.Generator(), None, SideImages(pixels))
    with pytest.raises(ValueError, match="gives 8 values per image and this one 4; pass --dim 8"):
        objective.loss(student, few)
