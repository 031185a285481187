from __future__ import annotations

import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision

from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.libraries import load_library_network
from active_indexing.descriptors.networks.architectures import build_network
from tests.descriptors.made_up import made_up


def saved(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    state = torchvision.models.resnet18().state_dict()
    return saved(state, tmp_path_factory.mktemp("weights") / "resnet18.pt")


@pytest.mark.parametrize(
    ("name", "size", "dim"),
    [
        ("resnet18", 32, 512),  # fc
        ("mobilenet_v3_small", 32, 576),  # classifier of several layers
        ("squeezenet1_1", 64, 512),  # classifier that works on maps
    ],
)
def test_torchvision_networks_lose_their_classifier(name: str, size: int, dim: int, tmp_path: Path) -> None:
    whole = torchvision.models.get_model(name, weights=None)
    path = saved(whole.state_dict(), tmp_path / "weights.pt")
    network, preprocessing, architecture = load_library_network(name, path)
    descriptor = Descriptor(network, replace(preprocessing, size=size), model=name, architecture=architecture)
    assert (descriptor.dim, descriptor.name) == (dim, f"{name}@square{size}")


@pytest.mark.parametrize(("name", "size", "dim"), [("resnet10t", 32, 512), ("vit_tiny_patch16_224", 64, 192)])
def test_timm_networks_take_their_own_weights_at_any_size(
    name: str, size: int, dim: int, tmp_path: Path
) -> None:
    whole = timm.create_model(name, num_classes=3)
    path = saved(whole.state_dict(), tmp_path / "weights.pt")
    network, preprocessing, architecture = load_library_network(name, path)
    descriptor = Descriptor(network, replace(preprocessing, size=size), model=name, architecture=architecture)
    assert (descriptor.dim, architecture) == (dim, f"timm.{name}")


def test_the_descriptor_is_what_the_classifier_saw(resnet_file: Path) -> None:
    whole = torchvision.models.resnet18()
    whole.load_state_dict(torch.load(resnet_file, weights_only=True))
    seen: list[torch.Tensor] = []
    whole.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    inputs = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        whole.eval()(inputs)
        network, _, _ = load_library_network("resnet18", resnet_file)
        torch.testing.assert_close(network.eval()(inputs), seen[0])


def test_the_published_size_is_the_default(resnet_file: Path) -> None:
    assert load_library_network("resnet18", resnet_file)[1].name == "square288"


def test_wrapped_and_nested_weights_load(resnet_file: Path, tmp_path: Path) -> None:
    state = torch.load(resnet_file, weights_only=True)
    wrapped = {f"module.backbone.{key}": value for key, value in state.items()}
    path = tmp_path / "wrapped.pt"
    torch.save({"epoch": 3, "model_state_dict": wrapped}, path)
    network, _, _ = load_library_network("resnet18", path)
    assert torch.equal(network.state_dict()["conv1.weight"], state["conv1.weight"])


def test_weights_of_another_architecture_are_one_error(resnet_file: Path) -> None:
    expected = r"resnet18\.pt do not fit the network: \d+ missing .*wrong shape.*--model_name"
    with pytest.raises(ValueError, match=expected):
        load_library_network("resnet50", resnet_file)


def test_weights_that_lack_a_layer_are_refused(resnet_file: Path, tmp_path: Path) -> None:
    state = torch.load(resnet_file, weights_only=True)
    del state["layer3.0.conv1.weight"]
    with pytest.raises(ValueError, match=r"1 missing \(layer3\.0\.conv1\.weight\)"):
        load_library_network("resnet18", saved(state, tmp_path / "w.pt"))


def test_an_unknown_name_is_answered_with_close_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown --model_name 'resnet51'.*did you mean .*resnet50"):
        load_library_network("resnet51", None)


def test_a_timm_network_that_was_never_published_is_not_used_with_random_weights() -> None:
    with pytest.raises(ValueError, match="timm has no weights for darknet17; pass a file of them"):
        load_library_network("darknet17", None)


def test_without_a_network_the_error_says_what_to_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(ConnectionError, match=r"resnet18 can't be downloaded.*https://.*--model_path"):
        load_library_network("resnet18", None)


def test_an_own_training_of_sscd_keeps_its_pooling_and_projection(tmp_path: Path) -> None:
    whole = build_network("resnet18", 24).eval()
    torch.nn.init.ones_(whole.get_parameter("layer4.1.bn2.weight"))  # zero at the start of a training
    path = saved({f"backbone.{key}": value for key, value in whole.state_dict().items()}, tmp_path / "w.pt")
    network, _, architecture = load_library_network("resnet18", path)
    assert architecture == "resnet18+gem3+linear24"
    inputs = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(inputs), whole(inputs))


@pytest.mark.parametrize("name", ["resnet50.tv_in1k", "mobilenet_v3_small"])
def test_an_sscd_file_under_another_architecture_is_refused(name: str, tmp_path: Path) -> None:
    path = saved({"backbone.fc.weight": torch.ones(512, 3)}, tmp_path / "sscd.pt")
    with pytest.raises(ValueError, match=f"holds a descriptor of SSCD, .*512 values, which {name} has not"):
        load_library_network(name, path)


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"])
def test_dinov2_files_load_with_the_keys_of_their_authors(name: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        whole = timm.create_model(name, num_classes=0)
    state = {key: made_up(key, tuple(value.shape)) for key, value in whole.state_dict().items()}
    theirs = {**state, "mask_token": torch.zeros(1, 384)}
    if "reg4" in name:  # timm adds the class token's position to the token once and for all
        theirs["register_tokens"] = theirs.pop("reg_token")
        positions = theirs["pos_embed"]
        first = torch.full((1, 1, 384), 0.25)
        theirs["pos_embed"] = torch.cat([first, positions], dim=1)
        theirs["cls_token"] = theirs["cls_token"] - 0.25
    network, _, _ = load_library_network(name, saved(theirs, tmp_path / "dinov2.pth"))
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, state[key], msg=key)
