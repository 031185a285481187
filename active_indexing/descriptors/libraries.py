"""Classification networks of torchvision and timm, cut open to give descriptors."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from active_indexing.descriptors.networks.architectures import RESNETS, build_network
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.published import PUBLISHED
from active_indexing.descriptors.weights import layouts
from active_indexing.descriptors.weights.checkpoints import (
    find_state_dict,
    load_strictly,
    nested_state_dict,
    read_checkpoint,
)
from active_indexing.extras import third_party

# Input size of torchvision and timm networks in the published program (``--resize_size``).
PUBLISHED_SIZE = 288
# Attributes under which torchvision and timm keep the classifier.
CLASSIFIERS = ("fc", "head", "heads", "classifier")
# Outputs of the classifiers that torchvision and timm publish; a projection of SSCD has another number.
IMAGENET_CLASSES = 1000


class Pooled(nn.Module):
    """Takes the place of a classifier: vectors pass, maps are averaged over their positions."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(B, C) unchanged, or (B, C, H, W) to (B, C)."""
        return values.mean(dim=(2, 3)) if values.ndim == 4 else values


def load_library_network(name: str, path: Path | None) -> tuple[nn.Module, Preprocessing, str]:
    """A network of torchvision or timm (torchvision wins) without its classifier.

    A file of SSCD, published or of an own training, is recognised by its keys and keeps its GeM pooling and
    its projection.

    Args:
        name: e.g. ``resnet50`` or ``vit_small_patch16_224.dino``.
        path: its weights, trained with ImageNet's normalisation; ``None`` downloads the library's own.

    Returns:
        Network on the CPU, its preprocessing (squares of 288, the published default), and a name of its
        architecture.

    Raises:
        ValueError: unknown name, or weights that do not fit.
        ConnectionError: the library's weights can't be downloaded.
    """
    if name in _torchvision_names():
        library, build = "torchvision", _torchvision_network
    elif _timm().is_model(name):
        library, build = "timm", _timm_network
    else:
        raise ValueError(_unknown(name))
    preprocessing = Preprocessing(PUBLISHED_SIZE)
    checkpoint = None if path is None else read_checkpoint(path)
    if path is not None:
        sscd = _sscd_network(name, checkpoint, path)
        if sscd is not None:
            return sscd[0], preprocessing, sscd[1]
    network, removed = build(name, path is None)
    if path is not None:
        state = _fitting(find_state_dict(checkpoint, path), network)
        load_strictly(network, state, source=str(path), removed=removed)
    elif library == "timm":
        # timm's weights were trained with their own normalisation (0.5 and 0.5 for many transformers).
        settings = _timm_settings(network)
        mean, std = tuple(settings["mean"]), tuple(settings["std"])
        preprocessing = Preprocessing(PUBLISHED_SIZE, mean=mean, std=std)
    return network, preprocessing, f"{library}.{name}"


def _sscd_network(name: str, checkpoint: Any, path: Path) -> tuple[nn.Module, str] | None:
    """The network of an SSCD file and its architecture, or ``None`` if the file is another one."""
    state = nested_state_dict(checkpoint, path)
    dim = layouts.sscd_projection(state)
    if dim is None or dim == IMAGENET_CLASSES:
        return None
    if name not in RESNETS:
        raise ValueError(
            f"{path} holds a descriptor of SSCD, with GeM pooling and a projection to {dim} values, which "
            f"{name} has not; pass --model_name with the published name (sscd_disc_mixup, ...), or with its "
            f"trunk: {', '.join(RESNETS)}."
        )
    network = build_network(name, dim)
    load_strictly(network, layouts.sscd(find_state_dict(checkpoint, path)), source=str(path))
    return network, layouts.sscd_architecture(name, dim)


def _fitting(state: dict[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict, translated to timm's keys if it is DINOv2's own, which has a ``mask_token``."""
    if "mask_token" not in state:
        return state
    transformers = third_party("timm.models.vision_transformer", "models")
    if not isinstance(network, transformers.VisionTransformer):
        return state
    fitting: dict[str, torch.Tensor] = transformers.checkpoint_filter_fn(dict(state), network)
    return fitting


def library_names() -> list[str]:
    """Every architecture name that :func:`load_library_network` accepts, without timm's weight tags."""
    return sorted({*_torchvision_names(), *_timm().list_models()})


def _timm() -> Any:
    return third_party("timm", "models")


def _torchvision_models() -> Any:
    return third_party("torchvision.models", "models")


def _torchvision_names() -> list[str]:
    models = _torchvision_models()
    names: list[str] = models.list_models(module=models)
    return names


def _torchvision_network(name: str, pretrained: bool) -> tuple[nn.Module, tuple[str, ...]]:
    # Only these two otherwise spend seconds on an initialisation that the weights then replace.
    models = _torchvision_models()
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if pretrained:
        url = models.get_model_weights(name).DEFAULT.url
        network = _downloaded(lambda: models.get_model(name, weights="DEFAULT", progress=True), name, url)
    else:
        network = models.get_model(name, weights=None, **options)
    removed = [attribute for attribute in CLASSIFIERS if hasattr(network, attribute)]
    for attribute in removed:
        setattr(network, attribute, Pooled())
    return network, tuple(f"{attribute}." for attribute in removed)


def _timm_network(name: str, pretrained: bool) -> tuple[nn.Module, tuple[str, ...]]:
    def create() -> nn.Module:
        try:
            # Vision transformers then interpolate their position embedding to any input size.
            return _timm().create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
        except TypeError:
            return _timm().create_model(name, pretrained=pretrained, num_classes=0)

    published = _timm().get_pretrained_cfg(name)
    if pretrained and not (published and published.has_weights):
        raise ValueError(f"timm has no weights for {name}; pass a file of them with --model_path.")
    url = f"https://huggingface.co/{published.hf_hub_id}" if published else ""
    network = _downloaded(create, name, url) if pretrained else create()
    named = _timm_settings(network).get("classifier") or ()
    classifiers = (named,) if isinstance(named, str) else tuple(named)
    return network, tuple(f"{attribute}." for attribute in (*CLASSIFIERS, *classifiers))


def _timm_settings(network: nn.Module) -> dict[str, Any]:
    settings: Any = network.pretrained_cfg
    return settings


def _downloaded(create: Callable[[], nn.Module], name: str, url: str) -> nn.Module:
    try:
        return create()
    except OSError as error:  # urllib's and the hub's errors are all OSErrors
        raise ConnectionError(
            f"the pretrained weights of {name} can't be downloaded from {url} ({error}); "
            "download them on a machine with a network and pass the file with --model_path."
        ) from error


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, ["torchscript", *PUBLISHED, *library_names()], n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists timm's."
    return (
        f"unknown --model_name {name!r}; expected torchscript, a published descriptor "
        f"({', '.join(PUBLISHED)}), or an architecture of torchvision or timm; {hint}"
    )
