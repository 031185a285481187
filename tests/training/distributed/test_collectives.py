import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from active_indexing.training.distributed import collectives
from active_indexing.training.objectives.contrastive import Views, entropy_loss, info_nce, pairs_of_copies
from active_indexing.training.run import _free_port
from tests.programs import at_once

IMAGES = torch.tensor([0, 1, 0, 1, 2, 3, 2, 3])  # two processes of four views
INPUTS = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


def network():
    layer = torch.nn.Linear(6, 5)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(5, 6, generator=torch.Generator().manual_seed(1)))
        layer.bias.zero_()
    return layer


def views(rows):
    numbers = torch.arange(8)[rows]
    return Views(IMAGES[rows], torch.ones(len(numbers), dtype=torch.bool), numbers)


def gradient(rows):
    """Of the loss whose anchors are ``rows``, over the views of all processes."""
    layer = network()
    descriptors = F.normalize(layer(INPUTS[rows]), dim=1)
    candidates = collectives.gather(descriptors)
    pairs = pairs_of_copies(views(rows), views(slice(None)))
    (info_nce(descriptors, candidates, pairs) + entropy_loss(descriptors, candidates, pairs)).backward()
    collectives.average_gradients(layer.parameters())
    return layer.weight.grad


def work(rank, port, path):
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    statistics = torch.nn.BatchNorm1d(2)
    statistics.running_mean.fill_(float(rank))
    collectives.average_batch_statistics(statistics)
    result = gradient(slice(4 * rank, 4 * rank + 4))
    if rank == 1:
        torch.save((result, statistics.running_mean), path)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_compute_the_gradient_of_the_whole_batch(tmp_path):
    at_once(work, _free_port(), tmp_path / "result.pt")
    together, mean = torch.load(tmp_path / "result.pt")
    torch.testing.assert_close(together, gradient(slice(None)), rtol=1e-4, atol=1e-6)
    assert mean.tolist() == [0.5, 0.5]


def test_a_single_process_gathers_its_own_rows():
    assert (collectives.rank(), collectives.world_size()) == (0, 1)
    assert collectives.gather(INPUTS) is INPUTS
