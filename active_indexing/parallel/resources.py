"""The device and the cores that a setting means."""

from __future__ import annotations

import os

import torch

DEVICES = ("cpu", "cuda", "mps", "xpu")
"""Kinds of devices on which torch computes without an extension."""


def device_for(name: str | None) -> torch.device:
    """The device of that name; ``None`` is a GPU when there is one.

    Raises:
        ValueError: it can't be used here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.split(":")[0] not in DEVICES:  # meta computes nothing, others are torch's placeholders
        raise ValueError(
            f"--device must be one of {', '.join(DEVICES)} (cuda:1 is the second), got {name!r}."
        )
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise ValueError(f"--device {name} can't be used here: {reason}; leave it out.") from error


def workers_for(workers: int | None) -> int:
    """Images in work at the same time; ``None`` is one per core that this process may use."""
    return len(os.sched_getaffinity(0)) if workers is None else workers


def threads_for(workers: int | None) -> int:
    """Threads for that many workers: at least one, this one."""
    return max(1, workers_for(workers))
