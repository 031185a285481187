"""Made-up weights with the key names and shapes of published files, a few kilobytes each."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import torch

from active_indexing.descriptors.published import PublishedDescriptor


def weights_for(entry: PublishedDescriptor) -> dict[str, torch.Tensor]:
    """State dict of an entry's network: every tensor is one number that its key determines."""
    with torch.device("meta"):
        shapes = {key: value for key, value in entry.build().state_dict().items()}
    return {key: made_up(key, tuple(value.shape), value.dtype) for key, value in shapes.items()}


def made_up(key: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    # Small weights, so that fifty layers of them do not overflow; norms and biases near 1, so that nothing
    # fades to denormal numbers, which are slow.
    value = (zlib.crc32(key.encode()) % 1000 + 1) * 1e-7 + float(len(shape) == 1)
    return torch.full((1,), value).to(dtype).expand(shape) if shape else torch.tensor(7, dtype=dtype)


def save(state: object, path: Path) -> Path:
    torch.save(state, path)
    return path


def classy_keys(torchvision_keys: Iterable[str], *, old: bool = False) -> dict[str, str]:
    """ClassyVision's name of each torchvision ResNet key, from the table of the two layouts."""
    keys = list(torchvision_keys)
    bottleneck = any(".conv3." in key for key in keys)
    inside = {"conv1": "convolutional_block.0", "bn1": "convolutional_block.1"}
    inside |= {"conv2": "convolutional_block.3", "bn2": "convolutional_block.4" if bottleneck else "bn"}
    inside |= {"conv3": "convolutional_block.6", "bn3": "bn"}

    def rename(key: str) -> str:
        block = re.fullmatch(r"layer(\d)\.(\d+)\.(\w+)\.(.+)", key)
        if block:
            stage, number, part, rest = int(block[1]) - 1, block[2], block[3], block[4]
            place = f"{number}._module" if old else f"block{stage}-{number}"
            return f"backbone.blocks.{stage}.{place}.{inside.get(part, part)}.{rest}"
        if key.startswith("fc."):
            return "embeddings.1." + key.removeprefix("fc.")
        stem = {"conv1": "initial_block._module.0", "bn1": "initial_block._module.1"}
        part, rest = key.split(".", 1)
        return f"backbone.{stem[part]}.{rest}"

    return {key: rename(key) for key in keys}
