"""What every array of descriptors must be before it goes into an index."""

from __future__ import annotations

import numpy as np


def checked(descriptors: np.ndarray, dim: int, factory: str, what: str) -> np.ndarray:
    """The same descriptors as contiguous float32.

    Args:
        descriptors: (N, D), finite.
        dim: D of the index.
        factory: its factory string.
        what: the descriptors, in words.

    Raises:
        ValueError: a wrong D, or values that are not finite.
    """
    descriptors = np.ascontiguousarray(descriptors, dtype=np.float32)
    if descriptors.ndim != 2 or descriptors.shape[1] != dim:
        raise ValueError(
            f"{what} have shape {tuple(descriptors.shape)}, but {factory} was made for "
            f"(N, {dim}): use the descriptor that the index was made with."
        )
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf
        finite = np.isfinite(descriptors.sum(axis=1))
    if not finite.all():
        # FAISS counts such vectors, stores them nowhere and says nothing.
        row = int(np.flatnonzero(~finite)[0])
        raise ValueError(f"{what}: row {row} of {len(finite)} has a value that is not finite.")
    return descriptors
