"""Published descriptors by name: which of their files and preprocessings, and how they are loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from active_indexing.descriptors.families import PUBLISHED, PublishedDescriptor
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights.checkpoints import (
    find_state_dict,
    is_torchscript,
    load_strictly,
    read_checkpoint,
)
from active_indexing.descriptors.weights.download import PublishedFile, fetch
from active_indexing.descriptors.weights.torchscript import load_torchscript


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A published descriptor, and which of its files and preprocessings.

    Attributes:
        name: its key in ``PUBLISHED``.
        entry: what is known about it.
        file: the weights to download; ``None`` where no program can download them.
        preprocessing: how it sees images.
    """

    name: str
    entry: PublishedDescriptor
    file: PublishedFile | None
    preprocessing: Preprocessing


def choose_published(spelling: str) -> Choice | None:
    """The published descriptor that ``--model_name`` spells, or ``None`` if the name is none of them.

    Args:
        spelling: ``name``, ``name.layout``, ``name@preprocessing`` or ``name.layout@preprocessing``, e.g.
            ``sscd_disc_mixup``, ``sscd_disc_mixup.torchscript``, ``sscd_disc_mixup@shortedge288``.

    Raises:
        ValueError: if the name is published but not in that layout or with that preprocessing.
    """
    match = re.fullmatch(r"([^.@]+)(?:\.([^.@]+))?(?:@([^.@]+))?", spelling)
    if match is None or match[1] not in PUBLISHED:
        return None
    name, layout, seen = match.groups()
    entry = PUBLISHED[name]
    preprocessings = {preprocessing.name: preprocessing for preprocessing in entry.preprocessings}
    layout, seen = layout or next(iter(entry.files), None), seen or next(iter(preprocessings))
    if layout is not None and layout not in entry.files:
        raise ValueError(f"{name} is published as {', '.join(entry.files)}, not as {layout!r}.")
    if seen not in preprocessings:
        raise ValueError(
            f"{name} is used with {', '.join(preprocessings)}, not with {seen!r}; "
            "any other size is --resize_size."
        )
    file = entry.files[layout] if layout is not None else None
    return Choice(name=name, entry=entry, file=file, preprocessing=preprocessings[seen])


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
        ValueError: if the file is damaged, its keys and shapes are not those of the network, or it must be
            downloaded by hand.
    """
    source = path if path is not None else _fetched(choice, progress)
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


def _fetched(choice: Choice, progress: bool) -> Path:
    if choice.file is None:
        raise ValueError(
            f"the weights of {choice.name} can't be downloaded by a program: get {choice.entry.by_hand} and "
            "pass the file with --model_path."
        )
    return fetch(choice.file, progress=progress)
