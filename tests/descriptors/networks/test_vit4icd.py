from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.descriptors.networks.vit4icd import ViT4ICDNetwork
from active_indexing.descriptors.published import PUBLISHED
from active_indexing.images.tensors import to_tensor
from tests.descriptors.made_up import save, weights_for
from tests.descriptors.tiny import CPU

ENTRY = PUBLISHED["vit4icd"]


class Published(nn.Module):
    """What was trained, with the published names of its parts, around a smaller trunk."""

    def __init__(self) -> None:
        super().__init__()
        trunk = timm.create_model("deit_tiny_patch16_224", num_classes=0)
        self.base = nn.Sequential(trunk)
        self.linear = nn.Linear(192, 512)
        self.classifier, self.classifier_1 = nn.Linear(192, 5, bias=False), nn.Linear(512, 5, bias=False)
        self.projector_feat_bn = nn.Sequential(nn.Identity())
        self.projector_feat_bn_1 = nn.Sequential(self.linear, nn.Identity())


def as_published(image: Image.Image) -> torch.Tensor:
    steps = [
        transforms.Grayscale(3),
        transforms.Lambda(lambda grey: grey.resize((224, 224))),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    inputs: torch.Tensor = transforms.Compose(steps)(image)
    return inputs


@pytest.mark.parametrize("nested", [False, True])  # stage_3.pth.tar, checkpoint_9_ema.pth.tar
def test_a_file_in_the_published_layout_gives_the_published_descriptors(
    nested: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    whole = Published().eval()
    state = {f"module.{key}": value for key, value in whole.state_dict().items()}
    path = save({"state_dict": state, "epoch": 10} if nested else state, tmp_path / "stage_3.pth.tar")
    smaller = replace(ENTRY, build=partial(ViT4ICDNetwork, "deit_tiny_patch16_224"))
    monkeypatch.setitem(PUBLISHED, "vit4icd", smaller)
    descriptor = load_descriptor(DescriptorConfig(model_name="vit4icd", model_path=path), CPU)
    assert (descriptor.name, descriptor.dim) == ("vit4icd@square224grey", 512)
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    levels = np.asarray(Image.fromarray(noise).resize((400, 300)))  # smooth, as photos are
    with torch.no_grad():
        features = whole.projector_feat_bn_1(whole.base(as_published(Image.fromarray(levels))[None]))
        expected = nn.functional.normalize(features)
        found = descriptor(to_tensor(levels)[None])
    assert float((found * expected).sum()) > 0.99999
    colours = to_tensor(np.ascontiguousarray(levels[..., ::-1]))[None]
    assert not torch.equal(descriptor(colours), found)  # a control: red counts more than blue


def test_the_whole_network_has_the_published_keys_and_shapes(tmp_path: Path) -> None:
    state = weights_for(ENTRY)
    assert tuple(state["base.pos_embed"].shape) == (1, 197, 768)
    assert tuple(state["linear.weight"].shape) == (512, 768)
    published = {
        f"module.{'base.0.' + key.removeprefix('base.') if key.startswith('base.') else key}": value
        for key, value in state.items()
    }
    published["module.projector_feat_bn_1.0.weight"] = state["linear.weight"]
    published["module.projector_feat_bn_1.0.bias"] = state["linear.bias"]
    published["module.classifier.weight"] = torch.ones(1).expand(100_000, 768)
    path = save(published, tmp_path / "stage_3.pth.tar")
    descriptor = load_descriptor(DescriptorConfig(model_name="vit4icd", model_path=path, resize_size=32), CPU)
    assert descriptor.dim == 512
