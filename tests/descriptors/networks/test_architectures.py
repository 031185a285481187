import pytest
import torch

from active_indexing.descriptors.networks.architectures import BACKBONES, GeM, build_network

INPUTS = torch.zeros(2, 3, 64, 64)
# The seven of the issue that torchvision serves, and timm's two of it with a Swin for channels-last maps.
EVERY_KIND = [*BACKBONES, "vit_small_patch16_224", "mobilevit_s", "resnet18d", "swin_s3_tiny_224"]


def test_gem_equals_the_formula_worked_by_hand():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])  # the negative one counts as 1e-6
    pooled = GeM(3.0)(maps)
    assert pooled.shape == (1, 1, 1, 1)
    assert pooled.item() == pytest.approx(((1 + 8 + 27 + 1e-18) / 4) ** (1 / 3), rel=1e-6)


def test_gem_of_exponent_one_is_the_mean():
    maps = torch.rand(2, 3, 4, 5) + 0.1
    torch.testing.assert_close(GeM(1.0)(maps)[..., 0, 0], maps.mean(dim=(2, 3)))


def test_gem_refuses_an_exponent_below_one():
    with pytest.raises(ValueError, match=r"must be at least 1, got 0\.5"):
        GeM(0.5)


@pytest.mark.parametrize("backbone", EVERY_KIND)
def test_every_backbone_gives_finite_descriptors_of_the_dimension_asked(backbone):
    # On the meta device shapes are checked without the arithmetic of a ResNeXt-101.
    device = "cpu" if backbone in ("resnet10", "vit_small_patch16_224") else "meta"
    size = 224 if backbone.startswith("swin") else 64
    with torch.device(device):
        network = build_network(backbone, 24).eval()
        inputs = torch.zeros(2, 3, size, size)
    with torch.no_grad():
        descriptors = network(inputs)
    assert descriptors.shape == (2, 24)
    assert device == "meta" or bool(torch.isfinite(descriptors).all())


def test_resnet50_has_the_keys_and_shapes_of_the_published_torchvision_files():
    with torch.device("meta"):
        state = build_network("resnet50", 512).state_dict()
    assert len(state) == 320  # 53 convolutions, 53 batch norms of 5 tensors, weight and bias of fc
    assert state["fc.weight"].shape == (512, 2048)
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert "layer4.2.bn3.running_var" in state


def test_resnext101_32x4d_has_the_widths_of_the_published_large_descriptor():
    with torch.device("meta"):
        state = build_network("resnext101_32x4d", 1024).state_dict()
    assert state["layer3.22.conv2.weight"].shape == (512, 512 // 32, 3, 3)
    assert state["layer1.0.conv2.weight"].shape == (128, 4, 3, 3)
    assert state["fc.weight"].shape == (1024, 2048)


def test_a_transformer_is_described_by_its_class_token():
    torch.manual_seed(0)
    network = build_network("vit_tiny_patch16_224", 8).eval()
    inputs = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = network.fc(network.trunk.forward_features(inputs)[:, 0])
        torch.testing.assert_close(network(inputs), expected)


def test_an_unknown_backbone_is_named_with_the_ones_there_are():
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet11'; expected one of resnet10"):
        build_network("resnet11", 8)


def test_a_descriptor_without_dimensions_is_refused():
    with pytest.raises(ValueError, match="at least 1 dimension, got 0"):
        build_network("resnet10", 0)
