"""What a release asks of whoever signs its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from active_indexing.store.rows import Manifest

Sign = Callable[[Path, Path | None, np.ndarray], Manifest]
"""From (released file, source where it is a file, (D,) float32 descriptor of the released file): signs the
file in its place, at once or not at all, and gives the manifest that it now carries. Raises
:class:`SigningError`."""


class SigningError(ValueError):
    """A file that can't be signed, in words for people."""
