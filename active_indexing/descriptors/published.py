"""Published descriptors by name: where their weights are, how they see images, how long they are.

[SSCD] github.com/facebookresearch/sscd-copy-detection, README and evaluation guide.
[DINO] github.com/facebookresearch/dino, README and copy-detection evaluation.
[ISC] github.com/lyakaap/ISC21-Descriptor-Track-1st, release 1.0.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.descriptors.networks.isc import ISCNetwork
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights import layouts
from active_indexing.descriptors.weights.checkpoints import (
    find_state_dict,
    is_torchscript,
    load_strictly,
    read_checkpoint,
)
from active_indexing.descriptors.weights.download import PublishedFile, fetch
from active_indexing.descriptors.weights.torchscript import load_torchscript

SSCD_URL = "https://dl.fbaipublicfiles.com/sscd-copy-detection"
DINO_URL = "https://dl.fbaipublicfiles.com/dino"
ISC_URL = "https://github.com/lyakaap/ISC21-Descriptor-Track-1st/releases/download/v1.0.1"

# The published active_indexing program feeds every extractor squares of 288 pixels, which is also [SSCD]'s
# evaluation default; [SSCD] recommends a short edge of 288 or squares of 320.
SSCD_PREPROCESSINGS = (Preprocessing(288), Preprocessing(288, "short_edge"), Preprocessing(320))
# [DINO] evaluates copy detection on squares of 320 and was trained on squares of 224.
DINO_PREPROCESSINGS = (Preprocessing(288), Preprocessing(320), Preprocessing(224))
# [ISC] takes the statistics of its trunk, 0.5 for mean and deviation.
ISC_PREPROCESSINGS = (Preprocessing(512, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),)


@dataclass(frozen=True, kw_only=True)
class PublishedDescriptor:
    """Everything about a published descriptor but its weights.

    Attributes:
        files: weights by layout; the first is downloaded unless another is asked for.
        preprocessings: what its authors use; the first is the default.
        dim: length of the descriptor.
        architecture: one line that names the network, part of the fingerprint.
        build: makes the network with weights of no meaning.
        translate: from the keys of the file, without ``backbone.``, to those of the network.
        removed: prefixes of keys that some files have and the network needs not.
    """

    files: Mapping[str, PublishedFile]
    preprocessings: tuple[Preprocessing, ...]
    dim: int
    architecture: str
    build: Callable[[], nn.Module]
    translate: layouts.Translation = layouts.unchanged
    removed: tuple[str, ...] = ()


def _sscd(name: str, backbone: str, dim: int, kinds: tuple[str, ...]) -> PublishedDescriptor:
    return PublishedDescriptor(
        files={kind: PublishedFile(url=f"{SSCD_URL}/{name}.{kind}.pt") for kind in kinds},
        preprocessings=SSCD_PREPROCESSINGS,
        dim=dim,
        architecture=f"{backbone}+gem3+linear{dim}",
        build=partial(build_network, backbone, dim, 3.0),
        translate=layouts.sscd,
    )


def _dino(folder: str, dim: int, architecture: str, build: Callable[[], nn.Module]) -> PublishedDescriptor:
    return PublishedDescriptor(
        files={"backbone": PublishedFile(url=f"{DINO_URL}/{folder}/{folder}.pth")},
        preprocessings=DINO_PREPROCESSINGS,
        dim=dim,
        architecture=architecture,
        build=build,
        removed=("fc.", "head."),
    )


def _dino_resnet50() -> nn.Module:
    network = torchvision.models.resnet50()
    network.fc = nn.Identity()
    return network


def _dino_vit(name: str) -> nn.Module:
    """Class token of a vision transformer; its position embedding follows the input size."""
    return timm.create_model(name, num_classes=0, dynamic_img_size=True)


def _isc(name: str) -> PublishedDescriptor:
    return PublishedDescriptor(
        files={"checkpoint": PublishedFile(url=f"{ISC_URL}/{name}.pth.tar")},
        preprocessings=ISC_PREPROCESSINGS,
        dim=256,
        architecture="tf_efficientnetv2_m+mean+linear256+bn",
        build=ISCNetwork,
        translate=layouts.isc,
    )


_STATE_DICT_FIRST = ("torchvision", "classy", "torchscript")
_SSCD_RESNET50 = (
    "sscd_disc_blur",
    "sscd_disc_advanced",
    "sscd_disc_mixup",
    "sscd_imagenet_blur",
    "sscd_imagenet_advanced",
    "sscd_imagenet_mixup",
)

PUBLISHED: dict[str, PublishedDescriptor] = {
    **{name: _sscd(name, "resnet50", 512, _STATE_DICT_FIRST) for name in _SSCD_RESNET50},
    "sscd_disc_large": _sscd("sscd_disc_large", "resnext101_32x4d", 1024, ("classy", "torchscript")),
    "dino_resnet50": _dino("dino_resnet50_pretrain", 2048, "resnet50+mean", _dino_resnet50),
    "dino_vits16": _dino(
        "dino_deitsmall16_pretrain", 384, "vit_small16+token", partial(_dino_vit, "vit_small_patch16_224")
    ),
    "dino_vits8": _dino(
        "dino_deitsmall8_pretrain", 384, "vit_small8+token", partial(_dino_vit, "vit_small_patch8_224")
    ),
    "isc_ft_v107": _isc("isc_ft_v107"),
    "isc_selfsup_v98": _isc("isc_selfsup_v98"),
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A published descriptor, and which of its files and preprocessings.

    Attributes:
        name: its key in ``PUBLISHED``.
        entry: what is known about it.
        file: the weights to download.
        preprocessing: how it sees images.
    """

    name: str
    entry: PublishedDescriptor
    file: PublishedFile
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
    layout, seen = layout or next(iter(entry.files)), seen or next(iter(preprocessings))
    if layout not in entry.files:
        raise ValueError(f"{name} is published as {', '.join(entry.files)}, not as {layout!r}.")
    if seen not in preprocessings:
        raise ValueError(
            f"{name} is used with {', '.join(preprocessings)}, not with {seen!r}; "
            "any other size is --resize_size."
        )
    return Choice(name=name, entry=entry, file=entry.files[layout], preprocessing=preprocessings[seen])


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
