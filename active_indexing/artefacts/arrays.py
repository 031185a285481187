"""Arrays as text, exact to the bit."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np


def packed(entries: np.ndarray | None) -> dict[str, Any] | None:
    """(K, D) float32 as its shape and the base64 of its bytes."""
    if entries is None:
        return None
    values = base64.b64encode(entries.astype("<f4").tobytes()).decode()
    return {"shape": list(entries.shape), "float32": values}


def unpacked(packed: dict[str, Any] | None) -> np.ndarray | None:
    """Entries (K, D) float32 as the journal holds them; ``None`` of a skipped input."""
    if packed is None:
        return None
    values = np.frombuffer(base64.b64decode(packed["float32"]), dtype="<f4").astype(np.float32)
    return values.reshape(packed["shape"])
