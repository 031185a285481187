"""Networks from normalised pixels to un-normalised descriptors: trunk, pooling, linear projection.

[SSCD] Pizzi et al., "A Self-Supervised Descriptor for Image Copy Detection", CVPR 2022.
[GeM] Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from active_indexing.descriptors.networks.resnet10 import ResNet10
from active_indexing.extras import third_party

# Positions below this are raised to it before the power, as [SSCD] does; keeps the gradient finite.
GEM_FLOOR = 1e-6
MAPS = "@maps"


def _of_torchvision(name: str, **options: Any) -> nn.Module:
    """A network of torchvision, whose import takes 1.7 s of CPU time."""
    from torchvision import models

    network: nn.Module = getattr(models, name)(**options)
    return network


def _resnext101_32x4d(**options: Any) -> nn.Module:
    """Of the published ``sscd_disc_large``: torchvision ships only 32x8d and 64x4d."""
    from torchvision.models.resnet import Bottleneck, ResNet

    network: nn.Module = ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4, **options)
    return network


def _resnet50_stride1(**options: Any) -> nn.Module:
    """With maps twice as large at the end: the last stage does not stride (ViT4ICD's first stage)."""
    network: Any = _of_torchvision("resnet50", **options)
    network.layer4[0].conv2.stride = network.layer4[0].downsample[0].stride = (1, 1)
    built: nn.Module = network
    return built


_RESNETS: dict[str, Callable[..., Any]] = {
    "resnet10": ResNet10,
    "resnet18": partial(_of_torchvision, "resnet18"),
    "resnet50": partial(_of_torchvision, "resnet50"),
    "resnet50_stride1": _resnet50_stride1,
    "resnext101_32x4d": _resnext101_32x4d,
    "resnext101_32x8d": partial(_of_torchvision, "resnext101_32x8d"),
}
_LIGHT: dict[str, Callable[..., Any]] = {
    name: partial(_of_torchvision, name) for name in ("mobilenet_v3_large", "efficientnet_b0")
}
RESNETS = tuple(_RESNETS)
BACKBONES = (*_RESNETS, *_LIGHT)


class GeM(nn.Module):
    """Generalised-mean pooling, y = (mean over positions of max(x, 1e-6)^p)^(1/p), [GeM] eq. (3).

    It has no parameters, so that published weights fit without it. Powers are taken in float32 whatever
    the autocast type: a cube leaves the range of float16 early.
    """

    def __init__(self, p: float = 3.0) -> None:
        """Args: p: 1 is the mean, infinity the maximum; the published value is 3."""
        super().__init__()
        if not p >= 1:
            raise ValueError(f"the exponent of GeM pooling must be at least 1, got {p}.")
        self.p = p

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, 1, 1), float32."""
        powers = maps.float().clamp(min=GEM_FLOOR).pow(self.p)
        return powers.mean(dim=(2, 3), keepdim=True).pow(1 / self.p)


class TimmNetwork(nn.Module):
    """Any timm trunk with [SSCD]'s head: class token where there is one, GeM of the map elsewhere."""

    trunk: Any

    def __init__(self, name: str, dim: int, gem_p: float) -> None:
        """Args: as :func:`build_network`."""
        super().__init__()
        self.trunk = _timm_trunk(name)
        self.pool = GeM(gem_p)
        self.fc = _projection(self.trunk.num_features, dim)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) normalised pixels to (B, dim)."""
        values = self.trunk.forward_features(inputs)
        if values.ndim == 3 and getattr(self.trunk, "num_prefix_tokens", 0):
            return self._projected(values[:, 0])
        if values.ndim == 3:  # (B, tokens, C) without a class token
            values = values.transpose(1, 2)[..., None]
        elif values.shape[1] != self.trunk.num_features:  # Swin and its kin keep channels last
            values = values.permute(0, 3, 1, 2)
        return self._projected(self.pool(values).flatten(1))

    def _projected(self, values: torch.Tensor) -> torch.Tensor:
        descriptors: torch.Tensor = self.fc(values)
        return descriptors


class MapsNetwork(nn.Module):
    """A convolutional trunk of timm up to its last stage, without the layer that follows; GeM, projection."""

    def __init__(self, name: str, dim: int, gem_p: float) -> None:
        """Args: as :func:`build_network`, without ``@maps``."""
        super().__init__()
        trunk: Any = third_party("timm", "models").create_model(name, features_only=True)
        self.trunk = trunk
        self.pool = GeM(gem_p)
        self.fc = _projection(trunk.feature_info.channels()[-1], dim)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) normalised pixels to (B, dim)."""
        descriptors: torch.Tensor = self.fc(self.pool(self.trunk(inputs)[-1]).flatten(1))
        return descriptors


def build_network(backbone: str, dim: int, gem_p: float = 3.0) -> nn.Module:
    """A network of random weights that maps normalised (B, 3, S, S) to an un-normalised (B, dim).

    The ResNets keep torchvision's key names with the projection under ``fc``, which are the keys of the
    published torchvision-layout [SSCD] files after their prefix ``backbone.``.

    Args:
        backbone: one of ``BACKBONES``, or any architecture of timm; with ``@maps`` at its end, that up to the
            map of its last stage (the first place of ISC21 pools it).
        dim: length of the descriptor; 512 in [SSCD], 1024 in ``sscd_disc_large``.
        gem_p: exponent of the pooling.

    Raises:
        ValueError: if the name, the dimension or the exponent is not usable.
    """
    if dim < 1:
        raise ValueError(f"a descriptor needs at least 1 dimension, got {dim}.")
    if backbone in _RESNETS:
        # Residual branches that start at zero: [SSCD]'s entropy weight of 30 is unstable without them.
        resnet = _RESNETS[backbone](zero_init_residual=True)
        resnet.avgpool, resnet.fc = GeM(gem_p), _projection(resnet.fc.in_features, dim)
        return resnet
    if backbone in _LIGHT:
        light = _LIGHT[backbone]()
        width = next(layer.in_features for layer in light.classifier if isinstance(layer, nn.Linear))
        light.avgpool, light.classifier = GeM(gem_p), _projection(width, dim)
        return light
    trunk, _, part = backbone.partition(MAPS)
    if third_party("timm", "models").is_model(trunk) and not part:
        maps = backbone.endswith(MAPS)
        return MapsNetwork(trunk, dim, gem_p) if maps else TimmNetwork(trunk, dim, gem_p)
    raise ValueError(
        f"unknown backbone {backbone!r}; expected one of {', '.join(BACKBONES)}, or an architecture that "
        "timm.list_models() lists."
    )


def _timm_trunk(name: str) -> Any:
    timm = third_party("timm", "models")
    try:
        # Transformers then interpolate their position embedding to any input size.
        return timm.create_model(name, num_classes=0, dynamic_img_size=True)
    except TypeError:
        return timm.create_model(name, num_classes=0)


def _projection(width: int, dim: int) -> nn.Linear:
    """Linear layer with [SSCD]'s start: Xavier-uniform weight, zero bias."""
    layer = nn.Linear(width, dim)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
