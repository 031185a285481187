from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from active_indexing.descriptors import loading
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.descriptors.postprocessing import (
    Postprocessing,
    fit_postprocessing,
    postprocessing_path,
    save_postprocessing,
)
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights.descriptor_file import Head, write_descriptor_file
from tests.descriptors.tiny import CPU, TinyNetwork, save_scripted, tiny_network

HEAD = Head(backbone="tiny", dim=8)


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A descriptor file of the tiny network, which stands in for every architecture."""
    monkeypatch.setattr(Head, "build", lambda head: TinyNetwork(head.dim))
    path = tmp_path / "mine.pt"
    write_descriptor_file(path, tiny_network(), HEAD, Preprocessing(16, "short_edge"))
    return path


@pytest.fixture
def scripted_file(tmp_path: Path) -> Path:
    return save_scripted(tiny_network(), tmp_path / "tiny.torchscript.pt")


def test_nothing_given_loads_the_default_descriptor(own_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "DEFAULT_DESCRIPTOR", own_file)
    descriptor = load_descriptor(DescriptorConfig(), CPU)
    assert (descriptor.name, descriptor.dim) == ("default@shortedge16", 8)
    assert not descriptor.training
    assert next(descriptor.parameters()).dtype == torch.float32


def test_a_missing_default_descriptor_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "DEFAULT_DESCRIPTOR", tmp_path / "default_descriptor.pt")
    with pytest.raises(FileNotFoundError, match="missing from this installation; install the package"):
        load_descriptor(DescriptorConfig(), CPU)


def test_a_file_of_ours_gives_the_network_it_was_written_from(own_file: Path, pixels: torch.Tensor) -> None:
    descriptor = load_descriptor(DescriptorConfig(model_path=own_file), CPU)
    assert descriptor.name == "mine@shortedge16"
    expected = nn.functional.normalize(tiny_network()(Preprocessing(16, "short_edge")(pixels)))
    torch.testing.assert_close(descriptor(pixels), expected, atol=2e-3, rtol=0)  # 16-bit weights


@pytest.mark.parametrize("name", [None, "torchscript"])
def test_a_torchscript_file_needs_no_name(
    name: str | None, scripted_file: Path, pixels: torch.Tensor
) -> None:
    config = DescriptorConfig(model_name=name, model_path=scripted_file)
    descriptor = load_descriptor(config, CPU)
    assert (descriptor.name, descriptor.dim) == ("tiny.torchscript@square288", 8)
    expected = nn.functional.normalize(tiny_network()(Preprocessing(288)(pixels)))
    assert torch.equal(descriptor(pixels), expected)


@pytest.mark.parametrize("resize", ["square", "short_edge", "long_edge"])
def test_resize_says_what_the_size_is_the_edge_of(own_file: Path, pixels: torch.Tensor, resize: str) -> None:
    plain = load_descriptor(DescriptorConfig(model_path=own_file), CPU)
    descriptor = load_descriptor(DescriptorConfig(model_path=own_file, resize_size=20, resize=resize), CPU)
    preprocessing = Preprocessing(20, resize)  # type: ignore[arg-type]
    assert (descriptor.name, descriptor.preprocessing) == (f"mine@{preprocessing.name}", preprocessing)
    assert descriptor.fingerprint != plain.fingerprint
    expected = nn.functional.normalize(tiny_network()(preprocessing(pixels)))
    torch.testing.assert_close(descriptor(pixels), expected, atol=5e-4, rtol=0)  # the file holds float16


@pytest.mark.parametrize("kind", ["own_file", "scripted_file"])
def test_resize_size_overrides_any_and_changes_name_and_fingerprint(
    kind: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    plain = load_descriptor(DescriptorConfig(model_path=path), CPU)
    resized = load_descriptor(DescriptorConfig(model_path=path, resize_size=24), CPU)
    assert resized.name.endswith("24")
    assert resized.preprocessing.resize == plain.preprocessing.resize
    assert resized.fingerprint != plain.fingerprint


def test_gradients_of_torchscript_reach_the_pixels_and_repeat(
    scripted_file: Path, pixels: torch.Tensor
) -> None:
    config = DescriptorConfig(model_path=scripted_file, resize_size=16)

    def gradients(load: Callable[[], nn.Module]) -> list[torch.Tensor]:
        descriptor, found = load(), []
        for _ in range(3):
            moving = pixels.clone().requires_grad_(True)
            descriptor(moving)[:, 0].sum().backward()
            assert moving.grad is not None
            found.append(moving.grad)
        return found

    runs = [gradients(lambda: load_descriptor(config, CPU)) for _ in range(2)]
    assert (runs[0][0] != 0).any()
    assert all(torch.equal(gradient, runs[0][0]) for run in runs for gradient in run)


def test_a_named_architecture_loads_weights_from_a_file(tmp_path: Path) -> None:
    network = load_network("resnet10t")
    torch.save(network.state_dict(), tmp_path / "w.pt")
    config = DescriptorConfig(model_name="resnet10t", model_path=tmp_path / "w.pt", resize_size=32)
    descriptor = load_descriptor(config, CPU)
    assert (descriptor.name, descriptor.dim) == ("resnet10t@square32", 512)


def load_network(name: str) -> nn.Module:
    import timm

    return timm.create_model(name, num_classes=0)


def test_torchscript_under_an_architecture_name_is_refused(scripted_file: Path) -> None:
    config = DescriptorConfig(model_name="resnet18", model_path=scripted_file)
    with pytest.raises(ValueError, match="pass --model_name torchscript instead of resnet18"):
        load_descriptor(config, CPU)


def test_the_name_torchscript_needs_a_file() -> None:
    with pytest.raises(ValueError, match="needs the file: pass it with --model_path"):
        load_descriptor(DescriptorConfig(model_name="torchscript"), CPU)


def test_a_bare_state_dict_needs_the_name_of_its_architecture(tmp_path: Path) -> None:
    torch.save(tiny_network().state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match="if it holds weights, name their architecture"):
        load_descriptor(DescriptorConfig(model_path=tmp_path / "w.pt"), CPU)


def test_a_torchscript_model_of_maps_is_refused(tmp_path: Path) -> None:
    path = save_scripted(nn.Conv2d(3, 4, 1), tmp_path / "maps.pt")
    with pytest.raises(ValueError, match=r"maps@square16 gives \(2, 4, 16, 16\)"):
        load_descriptor(DescriptorConfig(model_path=path, resize_size=16), CPU)


def fit_for(descriptor: Descriptor, dim: int) -> Postprocessing:
    images = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    return fit_postprocessing(
        descriptor(images).numpy(), descriptor=descriptor.fingerprint, dim=dim, power=0.0
    )


def test_postprocessing_beside_the_file_is_applied(own_file: Path, pixels: torch.Tensor) -> None:
    config = DescriptorConfig(model_path=own_file)
    plain = load_descriptor(config, CPU)
    postprocessing = fit_for(plain, 4)
    save_postprocessing(postprocessing, postprocessing_path(own_file))
    processed = load_descriptor(config, CPU)
    assert (processed.name, processed.dim) == ("mine@shortedge16+pca4", 4)
    assert processed.fingerprint != plain.fingerprint
    assert torch.equal(processed(pixels), postprocessing(plain(pixels)))


def test_postprocessing_of_another_descriptor_is_refused(own_file: Path) -> None:
    plain = load_descriptor(DescriptorConfig(model_path=own_file), CPU)
    save_postprocessing(fit_for(plain, 4), postprocessing_path(own_file))
    with pytest.raises(
        ValueError, match=r"fitted for another descriptor than mine@shortedge24.*Fit it again"
    ):
        load_descriptor(DescriptorConfig(model_path=own_file, resize_size=24), CPU)
