"""Programs of the project without a new interpreter: one that imports torch takes seconds of a core."""

from __future__ import annotations

import os
import pickle
import runpy
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch

ROOT = Path(__file__).parents[1]
Result = TypeVar("Result")


def run_script(name: str, *argv: str) -> int:
    """What ``python NAME ARGV`` does, its ``__main__`` block included, in this process.

    Args:
        name: of a script, below the root of the repository.
        argv: its flags.

    Returns:
        The exit code.
    """
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "argv", [name, *argv])
        warnings.simplefilter("default")  # as a new interpreter does
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / name), run_name="__main__")
    return int(left.value.code or 0)


def in_a_fork(function: Callable[[], Result]) -> Result:
    """What a function returns in a child of this process, whose peak of memory is its own.

    Args:
        function: its result is sent through a pipe, pickled.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(function(), pipe)
        except BaseException:  # noqa: BLE001 - told to the parent by the exit code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0, "it failed in its own process; its output is above"
    result: Result = pickle.loads(answer)
    return result


def at_once(work: Callable[..., None], *arguments: object, processes: int = 2) -> None:
    """``work(rank, *arguments)`` in processes forked from this one; an error in one is raised here."""
    torch.multiprocessing.start_processes(work, arguments, processes, start_method="fork")
