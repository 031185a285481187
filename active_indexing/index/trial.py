"""A factory string tried on random vectors, in a process of its own: of some FAISS dies.

As a program, ``python -P trial.py FACTORY DIMENSIONS METRIC BYTES`` makes such an index, trains it, adds,
searches and encodes. Errors that FAISS raises are none here: they are told when the real index raises them.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import subprocess
import sys

import numpy as np

ROWS, ENTRIES = 600, 100  # as many training vectors as a codebook of 8 bits and an IVF16 want
SECONDS = 30.0
_NO_MEMORY = 3
_ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@functools.cache
def check_survives(factory: str, metric: int, dim: int, available: int) -> None:
    """Refuse a factory string of which FAISS dies.

    Args:
        factory: FAISS factory string.
        metric: FAISS's number of it.
        dim: length of the descriptors.
        available: bytes of memory that the trial may take.

    Raises:
        ValueError: the trial died, or ran out of memory. One that is still at work after 30 seconds passes.
    """
    command = [sys.executable, "-P", __file__, factory, str(dim), str(metric), str(available)]
    try:
        done = subprocess.run(command, env=_ONE_THREAD, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return
    if done.returncode == _NO_MEMORY:
        raise ValueError("it takes more memory than is free; choose smaller numbers")
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ValueError(f"FAISS dies of it ({name}) when it is trained or filled; choose another")


def _try(factory: str, dim: int, metric: int) -> None:
    import faiss

    faiss.omp_set_num_threads(1)
    rows = np.random.default_rng(0).standard_normal((ROWS, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = faiss.index_factory(dim, factory, metric)
    index.train(rows)
    index.add(rows[:ENTRIES])
    index.search(rows[:3], 5)
    index.sa_decode(index.sa_encode(rows[:3]))


def main() -> int:
    """Run as a program."""
    factory, dim, metric, available = sys.argv[1], *map(int, sys.argv[2:])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (available, available))
    try:
        _try(factory, dim, metric)
    except MemoryError:
        return _NO_MEMORY
    except (RuntimeError, AssertionError, AttributeError, TypeError) as error:
        print(error, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
