"""Processes on several machines, as ``torchrun`` starts them and says so in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

# What torchrun sets for every process, beside the address where they meet.
_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")


@dataclass(frozen=True)
class Launch:
    """Which process this is.

    Attributes:
        rank: among all processes, from 0.
        local_rank: among those of this machine.
        world_size: number of processes on all machines.
    """

    rank: int
    local_rank: int
    world_size: int


def launched(nodes: int, processes: int) -> Launch | None:
    """What torchrun says, or ``None`` where this program starts its processes itself.

    Args:
        nodes: machines that are expected.
        processes: on each.

    Raises:
        ValueError: if several machines are expected without torchrun, or torchrun started other numbers.
    """
    if not all(name in os.environ for name in _NAMES):
        if nodes > 1:
            raise ValueError(
                f"{nodes} machines need torchrun on each of them: torchrun --nnodes {nodes} --nproc_per_node "
                f"{processes} --rdzv_endpoint HOST:PORT scripts/train_descriptor.py ..., in one --output_dir "
                "that all of them see."
            )
        return None
    rank, local_rank, world_size = (int(os.environ[name]) for name in _NAMES)
    if world_size != nodes * processes:
        raise ValueError(
            f"torchrun started {world_size} processes, but --nodes {nodes} with --processes {processes} are "
            f"{nodes * processes}; the two must agree, as the batch follows from them."
        )
    return Launch(rank, local_rank, world_size)
