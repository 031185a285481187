"""Programs of the project without a new interpreter: one that imports torch takes seconds of a core."""

from __future__ import annotations

import runpy
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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
