"""Names for weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, whatever the order and the device.

    Returns:
        64 hexadecimal digits, the same in every process.
    """
    digest = hashlib.sha256()
    for key, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{key} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
