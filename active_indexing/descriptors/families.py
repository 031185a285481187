"""Published descriptors by family: where their weights are, how they see images, how long they are.

[SSCD] github.com/facebookresearch/sscd-copy-detection, README and evaluation guide.
[DINO] github.com/facebookresearch/dino, README and copy-detection evaluation.
[ISC] github.com/lyakaap/ISC21-Descriptor-Track-1st, release 1.0.1.
[ViT4ICD] github.com/WangWenhao0716/ViT4ICD, README and extract_feature.py.
[AI] github.com/facebookresearch/active_indexing, table of feature extractors in the README.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.descriptors.networks.isc import ISCNetwork
from active_indexing.descriptors.networks.vit4icd import VIT4ICD_DIM, ViT4ICDNetwork
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights import layouts
from active_indexing.descriptors.weights.download import PublishedFile
from active_indexing.extras import require

SSCD_URL = "https://dl.fbaipublicfiles.com/sscd-copy-detection"
AI_URL = "https://dl.fbaipublicfiles.com/active_indexing"
DINO_URL = "https://dl.fbaipublicfiles.com/dino"
ISC_URL = "https://github.com/lyakaap/ISC21-Descriptor-Track-1st/releases/download/v1.0.1"

# The published active_indexing program feeds every extractor squares of 288 pixels, which is also [SSCD]'s
# evaluation default; [SSCD] recommends a short edge of 288 or squares of 320.
SSCD_PREPROCESSINGS = (Preprocessing(288), Preprocessing(288, "short_edge"), Preprocessing(320))
# [DINO] evaluates copy detection on squares of 320 and was trained on squares of 224.
DINO_PREPROCESSINGS = (Preprocessing(288), Preprocessing(320), Preprocessing(224))
# [ISC] takes the statistics of its trunk, 0.5 for mean and deviation.
ISC_PREPROCESSINGS = (Preprocessing(512, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),)
# [ViT4ICD] extracts from squares of 224 that Pillow makes grey and resizes, bicubic by its default.
VIT4ICD_PREPROCESSINGS = (Preprocessing(224, interpolation="bicubic", grey=True),)


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
        by_hand: the file and its page, where ``files`` is empty because only a person can download it.
    """

    files: Mapping[str, PublishedFile]
    preprocessings: tuple[Preprocessing, ...]
    dim: int
    architecture: str
    build: Callable[[], nn.Module]
    translate: layouts.Translation = layouts.unchanged
    removed: tuple[str, ...] = ()
    by_hand: str = ""


def _sscd(name: str, backbone: str, dim: int, kinds: tuple[str, ...]) -> PublishedDescriptor:
    return PublishedDescriptor(
        files={kind: PublishedFile(url=f"{SSCD_URL}/{name}.{kind}.pt") for kind in kinds},
        preprocessings=SSCD_PREPROCESSINGS,
        dim=dim,
        architecture=layouts.sscd_architecture(backbone, dim),
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
    from torchvision.models import resnet50

    network: nn.Module = resnet50()
    network.fc = nn.Identity()
    return network


def _isc(name: str) -> PublishedDescriptor:
    return PublishedDescriptor(
        files={"checkpoint": PublishedFile(url=f"{ISC_URL}/{name}.pth.tar")},
        preprocessings=ISC_PREPROCESSINGS,
        dim=256,
        architecture="tf_efficientnetv2_m+mean+linear256+bn",
        build=ISCNetwork,
        translate=layouts.isc,
    )


def _dino_vits(patch: int) -> nn.Module:
    require("timm", "models")
    from active_indexing.descriptors.networks.dino import build_dino  # a class of timm's, so it loads timm

    return build_dino(patch, 384, 6)


_DINO_VITS16 = partial(_dino_vits, 16)


def _of_table(name: str, file: str) -> PublishedDescriptor:
    """A descriptor that [AI] publishes anew as TorchScript, and sees as all its descriptors."""
    known = _KNOWN[name]
    preprocessings = dict.fromkeys((Preprocessing(288), *known.preprocessings))
    files = {"torchscript": PublishedFile(url=f"{AI_URL}/{file}.torchscript.pt")}
    return replace(known, files=files, preprocessings=tuple(preprocessings))


_STATE_DICT_FIRST = ("torchvision", "classy", "torchscript")
_SSCD_RESNET50 = (
    "sscd_disc_blur",
    "sscd_disc_advanced",
    "sscd_disc_mixup",
    "sscd_imagenet_blur",
    "sscd_imagenet_advanced",
    "sscd_imagenet_mixup",
)

_KNOWN: dict[str, PublishedDescriptor] = {
    **{name: _sscd(name, "resnet50", 512, _STATE_DICT_FIRST) for name in _SSCD_RESNET50},
    "sscd_disc_large": _sscd("sscd_disc_large", "resnext101_32x4d", 1024, ("classy", "torchscript")),
    "dino_resnet50": _dino("dino_resnet50_pretrain", 2048, "resnet50+mean", _dino_resnet50),
    "dino_vits16": _dino("dino_deitsmall16_pretrain", 384, "vit_small16+token+dino", _DINO_VITS16),
    "dino_vits8": _dino("dino_deitsmall8_pretrain", 384, "vit_small8+token+dino", partial(_dino_vits, 8)),
    "isc_ft_v107": _isc("isc_ft_v107"),
    "isc_selfsup_v98": _isc("isc_selfsup_v98"),
    "vit4icd": PublishedDescriptor(
        files={},
        preprocessings=VIT4ICD_PREPROCESSINGS,
        dim=VIT4ICD_DIM,
        architecture="deit_base16+token+linear512",
        build=ViT4ICDNetwork,
        translate=layouts.vit4icd,
        # The projection is there twice, and the classifiers of the training are of no use.
        removed=("projector_feat_bn_1.", "classifier"),
        by_hand="stage_3.pth.tar (the README of github.com/WangWenhao0716/ViT4ICD links to it)",
    ),
}

PUBLISHED: dict[str, PublishedDescriptor] = {
    **_KNOWN,
    "dino_r50": _of_table("dino_resnet50", "dino_r50"),
    "dino_vits": _of_table("dino_vits16", "dino_vits16"),
    "isc_dt1": _of_table("isc_ft_v107", "isc1"),
}
