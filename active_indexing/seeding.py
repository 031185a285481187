"""Randomness as an argument, keyed by what it is for.

Every random draw of the project comes from a generator made from (seed, image id, purpose), so a result
never depends on batch size, order, the number of workers, or on what ran before.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_for(seed: int, image_id: int | str, purpose: str) -> int:
    """63-bit seed that depends on (seed, image id, purpose) and on nothing else.

    Args:
        seed: the user's ``--seed``.
        image_id: id of the image the draw belongs to, or any stable name.
        purpose: what the draw is for, e.g. ``"auto"``; two purposes never share a stream.

    Returns:
        Integer in [0, 2**63).
    """
    digest = hashlib.sha256(f"{seed}/{image_id}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(seed: int, image_id: int | str, purpose: str) -> np.random.Generator:
    """NumPy generator keyed by (seed, image id, purpose)."""
    return np.random.default_rng(seed_for(seed, image_id, purpose))


def torch_generator_for(seed: int, image_id: int | str, purpose: str) -> torch.Generator:
    """CPU torch generator keyed by (seed, image id, purpose).

    It lives on the CPU on purpose: draws made there and moved to a GPU are the same on every device.
    """
    import torch  # here, so that intervals and reports stay light

    return torch.Generator().manual_seed(seed_for(seed, image_id, purpose))


@contextmanager
def fenced_global_rngs(seed: int) -> Iterator[None]:
    """Seed the global NumPy and Python generators inside the block and restore their state after it.

    For libraries that draw from, or reseed, the global generators (AugLy does both).

    Args:
        seed: any non-negative integer.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
