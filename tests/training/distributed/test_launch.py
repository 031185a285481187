"""Processes that torchrun starts."""

import multiprocessing
import os

import pytest
import torch

from active_indexing.training.config import TrainingConfig, TrainingImages
from active_indexing.training.data.batches import open_banks
from active_indexing.training.distributed.launch import Launch, launched
from active_indexing.training.optimization.schedules import Schedule, SizeStage
from active_indexing.training.run import TrainingRun, _free_port, _process, run
from tests.training.images import write_folder

CONFIG = TrainingConfig(
    backbone="test_resnet",
    dim=8,
    edits="simclr",
    edited_views=1,
    sizes=(SizeStage(0, 32),),
    test_size=32,
    schedule=Schedule(steps=3),
    half_precision=False,
)


@pytest.fixture
def environment(monkeypatch):
    def put(**values):
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    put()
    return put


def test_the_environment_says_which_process_this_is(environment):
    assert launched(1, 8) is None
    environment(RANK=5, LOCAL_RANK=1, WORLD_SIZE=8)
    assert launched(2, 4) == Launch(5, 1, 8)
    with pytest.raises(ValueError, match=r"torchrun started 8 processes, but --nodes 1 with --processes 4"):
        launched(1, 4)


def test_several_machines_without_torchrun_are_told_how_to_start(environment):
    wanted = r"4 machines need torchrun on each of them: torchrun --nnodes 4 --nproc_per_node 8"
    with pytest.raises(ValueError, match=wanted):
        launched(4, 8)


def machine(rank, ports, images, folder):
    """One machine with one process, as torchrun would start it; then one of two processes of one machine."""
    sources = (TrainingImages(images, 32, 6),)
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ports[0])}
    run(CONFIG, TrainingRun(output_dir=folder / "apart", sources=sources, nodes=2))
    together = TrainingRun(output_dir=folder / "together", sources=sources, processes=2)
    _process(rank, CONFIG, together, ports[1])


def start_machines(images, folder):
    ports, context = (_free_port(), _free_port()), multiprocessing.get_context("spawn")
    machines = [context.Process(target=machine, args=(rank, ports, images, folder)) for rank in range(2)]
    for each in machines:
        each.start()
    for each in machines:
        each.join(120)
    return [each.exitcode for each in machines]


@pytest.mark.slow
def test_two_machines_train_what_two_processes_of_one_train(tmp_path, environment):
    images = write_folder(tmp_path / "images", count=24)
    open_banks((TrainingImages(images, 32, 6),), tmp_path / "together" / "banks")
    assert start_machines(images, tmp_path) == [0, 0]
    first, second = (
        torch.load(tmp_path / folder / "checkpoint.pt", weights_only=True)["network"]
        for folder in ("apart", "together")
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert (tmp_path / "apart" / "descriptor.pt").exists()
