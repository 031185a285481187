"""Every recipe, small: its loss falls in a few steps, and a resumed training is the same to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from active_indexing.training.config import TrainingImages
from active_indexing.training.data.batches import Batches, open_banks
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
    changes = {"queue_rows": 48} if hasattr(objective, "queue_rows") else {}
    if isinstance(objective, RDCDConfig):
        changes["teacher_dim"] = DIM
    return replace(objective, **changes)


def small(name):
    """The recipe with a small network and small views, its own optimizer and objective."""
    config = registry.recipe(name)
    return replace(
        config,
        backbone="test_resnet",
        dim=DIM,
        edits="simclr",
        sizes=(SizeStage(0, 32),),
        test_size=32,
        schedule=Schedule(steps=4, warmup_steps=1),
        half_precision=False,
        objective=small_objective(config.objective),
    )


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    source = TrainingImages(write_folder(folder / "images", count=24), 32, 8)
    return Batches(open_banks((source,), folder), [8], seed=0)


def built(config):
    """At step 0, with a teacher or its rows where the objective learns from one."""
    rows = config.objective.wants_rows
    taught = hasattr(config.objective, "queue_rows")
    trainer = build_trainer(config, CPU, teacher=teacher if taught else None)
    if rows:
        trainer.objective.fill(F.normalize(torch.randn(24, DIM), dim=1))
    return trainer


@pytest.mark.parametrize("name", registry._OWN)
def test_the_loss_falls_in_a_few_steps(batches, name):
    torch.manual_seed(0)
    config = replace(small(name), optimizer="adamw", learning_rate=5e-3, schedule=Schedule(steps=100))
    trainer = built(config)
    same = batches.at(0)
    losses = [train_step(trainer, same)[TERMS.get(name, "loss")] for _ in range(14)]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:2])


@pytest.mark.parametrize("name", registry._OWN)
def test_a_resumed_training_is_the_same_to_the_bit(batches, tmp_path, name):
    def fresh():
        torch.manual_seed(0)
        return built(small(name))

    whole, first, second = fresh(), fresh(), fresh()
    for _ in train(whole, batches):
        pass
    for _ in train(first, batches):
        if first.step == 2:
            break
    first.save(tmp_path / "checkpoint.pt")
    torch.manual_seed(7)  # what else was drawn does not matter
    second.resume(tmp_path / "checkpoint.pt")
    for _ in train(second, batches):
        pass
    for one, other in ((whole.network, second.network), (whole.objective, second.objective)):
        expected, actual = one.state_dict(), other.state_dict()
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
