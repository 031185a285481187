"""From the name of a published descriptor to its network with its weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from active_indexing.descriptors.checkpoints import (
    find_state_dict,
    is_torchscript,
    load_strictly,
    read_checkpoint,
)
from active_indexing.descriptors.registry import Choice
from active_indexing.descriptors.torchscript import load_torchscript
from active_indexing.descriptors.weights import fetch


def load_published(
    choice: Choice, path: Path | None, device: torch.device, *, progress: bool = True
) -> tuple[nn.Module, str, Path]:
    """The network of a published descriptor, a name of its architecture, and the file it came from.

    Args:
        choice: which one, from which file.
        path: its weights in any of its layouts, which the content tells; ``None`` takes them from the
            cache or downloads them.
        device: where the network goes.
        progress: show the download on a terminal.

    Raises:
        ConnectionError: if the weights can't be downloaded.
        FileNotFoundError: if ``path`` does not exist.
        ValueError: if the file is damaged or its keys and shapes are not those of the network.
    """
    source = path if path is not None else fetch(choice.file, progress=progress)
    if source.is_file() and is_torchscript(source):
        scripted, architecture, _ = load_torchscript(source, device)
        return scripted, architecture, source
    state = choice.entry.translate(find_state_dict(read_checkpoint(source), source))
    # Weights are about to be replaced: without memory there is nothing to initialise, which takes seconds.
    with torch.device("meta"):
        network = choice.entry.build()
    network = network.to_empty(device="cpu")
    load_strictly(network, state, source=str(source), removed=choice.entry.removed)
    return network.to(device), choice.entry.architecture, source
