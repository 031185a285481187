"""Contrast with a memory of earlier batches."""

import pytest
import torch
import torch.nn.functional as F

from active_indexing.training.objectives.contrastive import Views
from active_indexing.training.objectives.cross_batch import CrossBatchConfig, margin_contrast
from active_indexing.training.objectives.interface import SideImages, StepViews, Student
from tests.reference import losses as slow


class Flat(torch.nn.Module):
    """Descriptors that are the pixels themselves."""

    def forward(self, inputs):
        return inputs.flatten(1)


STUDENT = Student(Flat(), 0.5, 1.0, half_precision=False)


def batch_of(pixels, images, step, support=None):
    count = len(images)
    views = Views(torch.tensor(images), torch.ones(count, dtype=torch.bool), torch.arange(count))
    return StepViews(pixels, views, step, torch.Generator(), None, SideImages(support))


def test_only_pairs_that_are_not_satisfied_count():
    anchors = torch.tensor([[1.0, 0.0]])
    candidates = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    positive, negative = torch.tensor([[True, False, False]]), torch.tensor([[False, True, True]])
    pulled, pushed = margin_contrast(anchors, candidates, positive, negative, 0.0, 1.0)
    assert pulled.item() == pytest.approx(2**0.5)
    assert pushed.item() == pytest.approx(1.0, abs=2e-3)  # the opposite one is further than the margin
    nothing = torch.zeros_like(positive)
    assert not any(margin_contrast(anchors, candidates, nothing, nothing, 0.0, 1.0))


@pytest.mark.parametrize("rows", [3, 5, 20])
def test_steps_equal_a_memory_of_pairs_one_at_a_time(rows):
    config = CrossBatchConfig(memory_rows=rows, positive_margin=0.1, negative_margin=1.1)
    objective, oracle = config.build(None, 12, None), slow.CrossBatchMemory(rows, 0.1, 1.1)
    generator = torch.Generator().manual_seed(0)
    for step, images in enumerate([[0, 1, 0], [1, 2, 3], [2, 2, 0], [0, 1, 3], [3, 3, 1]]):
        pixels = torch.rand(3, 3, 2, 2, generator=generator).double()
        total, log = objective.loss(STUDENT, batch_of(pixels, images, step))
        objective.updated(STUDENT.network)
        anchors = F.normalize((pixels - 0.5).float().flatten(1), dim=1).tolist()
        pulled, pushed = oracle.step(anchors, images)
        assert log["pulled"] == pytest.approx(pulled, rel=1e-4, abs=1e-5)
        assert log["pushed"] == pytest.approx(pushed, rel=1e-4, abs=1e-5)
        assert total.item() == pytest.approx(pulled + pushed, rel=1e-4, abs=1e-5)


def test_support_images_only_repel_also_from_the_memory():
    objective = CrossBatchConfig(memory_rows=10, support=True).build(None, 12, None)
    pixels = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    same = pixels[:1].clone()
    # The support image is a copy of the first view: were it taken for a match, nothing would be pushed.
    _, first = objective.loss(STUDENT, batch_of(pixels, [4, 5], 0, same))
    objective.updated(STUDENT.network)
    assert first["pulled"] == 0
    assert first["pushed"] > 0
    _, second = objective.loss(STUDENT, batch_of(pixels, [6, 7], 1, same))
    assert second["pulled"] == 0  # nor is last step's support image a match of this step's
    assert len(set(objective.memory.images[:3].tolist())) == 3


def test_a_network_is_deployed_in_one_piece():
    torch.manual_seed(0)
    config = CrossBatchConfig()
    network = config.build_network("test_resnet@maps", 8, 1.0)
    assert network.projection.bias is None
    inputs = torch.randn(4, 3, 32, 32)
    network.train()(inputs)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(config.deployed(network)(inputs), network(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossBatchConfig(memory_rows=0), "at least 1 row, got 0"),
        (lambda: CrossBatchConfig(positive_margin=1.0), "0 <= positive < negative, got 1.0 and 1.0"),
        (lambda: CrossBatchConfig().build(None, 4, lambda pixels: pixels), "has no teacher"),
    ],
)
def test_settings_without_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
