import copy
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.layers import BatchNormAct2d

from active_indexing.training.checkpoints import recipe_fingerprint
from active_indexing.training.config import TrainingConfig
from active_indexing.training.data.batches import Batch
from active_indexing.training.distributed import collectives
from active_indexing.training.distributed.batch_norm import SynchronisedBatchNorm, synchronise_batch_norms
from active_indexing.training.objectives.contrastive import (
    LossConfig,
    Views,
    entropy_loss,
    info_nce,
    pairs_of_copies,
)
from active_indexing.training.objectives.sscd import SSCDConfig
from active_indexing.training.optimization.schedules import Schedule, SizeStage
from active_indexing.training.run import _free_port
from active_indexing.training.trainer import build_trainer, train_step
from tests.programs import at_once

CPU = torch.device("cpu")
IMAGES = torch.tensor([0, 1, 0, 1, 2, 3, 2, 3])  # two processes of four views
# The second process has brighter views, so that its own statistics would be far from those of both.
INPUTS = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
INPUTS[4:] += 3
SMALL = TrainingConfig(
    dim=16,
    edits="strong_blur",
    edited_views=1,
    sizes=(SizeStage(0, 16),),
    schedule=Schedule(steps=4),
    objective=SSCDConfig(loss=LossConfig(entropy_weight=1.0)),
    half_precision=False,
    sync_bn=True,
)


def network():
    """Batch norms of maps and vectors, one with an activation inside, one of cumulative statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers = torch.nn.Sequential(
            torch.nn.BatchNorm2d(3),
            torch.nn.Conv2d(3, 8, 3, bias=False),
            BatchNormAct2d(8),
            torch.nn.AvgPool2d(4),
            torch.nn.Flatten(),
            torch.nn.BatchNorm1d(8, momentum=None, affine=False),
            torch.nn.Linear(8, 5),
        )
        torch.nn.init.uniform_(layers[0].weight)
        torch.nn.init.normal_(layers[2].bias)
    return layers


def views(rows):
    numbers = torch.arange(8)[rows]
    return Views(IMAGES[rows], torch.ones(len(numbers), dtype=torch.bool), numbers)


def results(rows):
    """Two passes over ``rows`` with the training loss; everything a training could see of them."""
    layers = synchronise_batch_norms(network(), CPU)
    with torch.no_grad():
        layers(INPUTS[rows] / 2)
    inputs = INPUTS[rows].clone().requires_grad_()
    descriptors = F.normalize(layers(inputs), dim=1)
    candidates = collectives.gather(descriptors)
    pairs = pairs_of_copies(views(rows), views(slice(None)))
    (info_nce(descriptors, candidates, pairs) + entropy_loss(descriptors, candidates, pairs)).backward()
    collectives.average_gradients(layers.parameters())
    # The loop averages over processes what is summed before; inputs have no such mean.
    input_gradients = collectives.gather(inputs.grad / collectives.world_size())
    weight_gradients = [parameter.grad for parameter in layers.parameters()]
    evaluated = layers.eval()(INPUTS)
    return {
        "outputs": candidates.detach(),
        "input gradients": input_gradients,
        "weight gradients": weight_gradients,
        "state": layers.state_dict(),
        "evaluated": evaluated.detach(),
    }


def one_step():
    """Of a trainer in this process: its batch norms, and its statistics after the step."""
    trainer = build_trainer(SMALL, CPU)
    names = [type(layer).__name__ for layer in trainer.network.modules()]
    kinds = {name for name in names if "BatchNorm" in name}
    generator = torch.Generator().manual_seed(collectives.rank())
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=generator)
    train_step(trainer, [Batch(images, torch.arange(8) + 8 * collectives.rank())])
    return {"kinds": kinds, "state": trainer.network.state_dict()}


def work(rank, port, folder):
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    torch.save((results(slice(4 * rank, 4 * rank + 4)), one_step()), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_processes")
    at_once(work, _free_port(), folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_normalise_as_one_with_the_whole_batch(two_processes, rank):
    together, alone = two_processes[rank][0], results(slice(None))
    assert list(together["state"]) == list(alone["state"])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_training_step_of_two_processes_leaves_the_same_state_in_both(two_processes):
    first, second = (steps for _, steps in two_processes)
    assert first["kinds"] == {"SynchronisedBatchNorm"}
    alone = build_trainer(SMALL, CPU).network.state_dict()
    shapes = {key: value.shape for key, value in alone.items()}
    assert {key: value.shape for key, value in first["state"].items()} == shapes
    for key, value in first["state"].items():
        assert torch.equal(value, second["state"][key]), key


def test_a_single_process_keeps_its_network():
    layers = network()
    before = [type(layer) for layer in layers.modules()]
    assert synchronise_batch_norms(layers, CPU) is layers
    assert [type(layer) for layer in layers.modules()] == before


def test_on_gpus_torchs_own_takes_over_what_has_no_activation_inside(monkeypatch):
    monkeypatch.setattr(collectives, "world_size", lambda: 2)
    before = network()
    after = synchronise_batch_norms(copy.deepcopy(before), torch.device("cuda"))
    kinds = [type(after[layer]) for layer in (0, 2, 5)]
    assert kinds == [torch.nn.SyncBatchNorm, SynchronisedBatchNorm, torch.nn.SyncBatchNorm]
    assert list(after.state_dict()) == list(before.state_dict())
    torch.testing.assert_close(after.eval()(INPUTS), before.eval()(INPUTS))


@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluation"])
def test_a_synchronised_batch_norm_alone_is_torchs_own(mode):
    own = torch.nn.BatchNorm2d(3).train(mode)
    synchronised = SynchronisedBatchNorm(copy.deepcopy(own))
    torch.testing.assert_close(synchronised(INPUTS), own(INPUTS))
    torch.testing.assert_close(synchronised.state_dict(), own.state_dict())
    assert synchronised(INPUTS.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"needs maps of shape \(N, C, ...\), got \(3,\)"):
        synchronised(INPUTS[0, :, 0, 0])


def test_synchronised_batch_norms_are_part_of_the_fingerprint_and_the_schedule_is_not():
    assert recipe_fingerprint(SMALL) != recipe_fingerprint(replace(SMALL, sync_bn=False))
    longer = replace(SMALL, schedule=Schedule(steps=SMALL.schedule.steps + 1))
    assert recipe_fingerprint(SMALL) == recipe_fingerprint(longer)
