"""Every recipe, small: its loss falls in a few steps, and a resumed training is the same to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from active_indexing.training.config import TrainingImages
from active_indexing.training.data.batches import Batches, open_banks
from active_indexing.training.data.side_images import SideBatches
from active_indexing.training.objectives.patches import PatchContrastConfig
from active_indexing.training.objectives.relational import RDCDConfig
from active_indexing.training.optimization.schedules import Schedule, SizeStage
from active_indexing.training.recipes import registry
from active_indexing.training.trainer import build_trainer, train, train_step
from tests.training.images import write_folder

CPU = torch.device("cpu")
DIM = 16
# What an update of the batch is judged by; other terms also change with what a queue holds.
TERMS = {"kd_icd": "InfoNCE", "rdcd": "relation"}


def teacher(pixels):
    """Mean colours of a 4 x 4 grid, turned: what an image looks like from afar."""
    seen = F.adaptive_avg_pool2d(pixels, 4).flatten(1)
    return (seen - 0.5) @ torch.randn(48, DIM, generator=torch.Generator().manual_seed(3))


def small_objective(objective):
    if isinstance(objective, PatchContrastConfig):
        return replace(objective, base=small_objective(objective.base), layer="trunk.layer2")
    fewer = {"queue_rows": 48, "memory_rows": 24, "classes": 12}
    changes = {name: value for name, value in fewer.items() if hasattr(objective, name)}
    if isinstance(objective, RDCDConfig):
        changes["teacher_dim"] = DIM
    return replace(objective, **changes)


def small_backbone(config):
    if getattr(config.objective, "drop_path", 0):
        return "test_vit"
    return "test_resnet@maps" if config.backbone.endswith("@maps") else "test_resnet"


def small(name):
    """The recipe with a small network and small views, its own optimizer and objective."""
    config = registry.recipe(name)
    return replace(
        config,
        backbone=small_backbone(config),
        dim=DIM,
        edits="plain" if config.instances else "simclr",
        sizes=(SizeStage(0, 32),),
        test_size=32,
        schedule=Schedule(steps=4, warmup_steps=1),
        half_precision=False,
        objective=small_objective(config.objective),
    )


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    """24 images, two of each of 12 identities."""
    folder = tmp_path_factory.mktemp("training")
    images = write_folder(folder / "images", count=24)
    for number, path in enumerate(sorted(images.iterdir())):
        path.rename(images / f"{number // 2}_{number}.png")
    return open_banks((TrainingImages(images, 32, 8),), folder)


def built(config):
    """At step 0, with a teacher or its rows where the objective learns from one."""
    rows = config.objective.wants_rows
    taught = hasattr(config.objective, "queue_rows") or getattr(config.objective, "compatibility", 0)
    trainer = build_trainer(config, CPU, teacher=teacher if taught else None)
    if rows:
        trainer.objective.fill(F.normalize(torch.randn(24, DIM), dim=1))
    return trainer


def images_of(trainer, banks):
    """What a step sees, and the images beside it that its objective asks for."""
    support = Batches(banks, [4], 1) if trainer.objective.wants_support else None
    pairs = Batches(banks, [4], 2, instances=2) if trainer.objective.wants_pairs else None
    return Batches(banks, [8], 0, instances=trainer.config.instances), SideBatches(support, pairs)


@pytest.mark.parametrize("name", registry._OWN)
def test_the_loss_falls_in_a_few_steps(banks, name):
    torch.manual_seed(0)
    config = replace(small(name), optimizer="adamw", learning_rate=5e-3, schedule=Schedule(steps=100))
    trainer = built(config)
    batches, side = images_of(trainer, banks)
    same = batches.at(0)
    losses = []
    for _ in range(12):
        trainer.step = 0  # the same views again
        losses.append(train_step(trainer, same, side)[TERMS.get(name, "loss")])
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < 0.9 * losses[0]


@pytest.mark.parametrize("name", registry._OWN)
def test_a_resumed_training_is_the_same_to_the_bit(banks, tmp_path, name):
    def fresh():
        torch.manual_seed(0)
        return built(small(name))

    whole, first, second = fresh(), fresh(), fresh()
    images = images_of(whole, banks)
    for _ in train(whole, *images):
        pass
    for _ in train(first, *images):
        if first.step == 2:
            break
    first.save(tmp_path / "checkpoint.pt")
    torch.manual_seed(7)  # what else was drawn does not matter
    second.resume(tmp_path / "checkpoint.pt")
    for _ in train(second, *images):
        pass
    for one, other in ((whole.network, second.network), (whole.objective, second.objective)):
        expected, actual = one.state_dict(), other.state_dict()
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
