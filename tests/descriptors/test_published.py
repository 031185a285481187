from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.descriptors.published import PUBLISHED
from active_indexing.descriptors.weights.download import CACHE_VARIABLE, PublishedFile
from tests.descriptors.made_up import classy_keys, save, weights_for
from tests.descriptors.server import serving
from tests.descriptors.tiny import CPU, save_scripted, tiny_network

SSCD = PUBLISHED["sscd_disc_mixup"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def sscd_state() -> dict[str, torch.Tensor]:
    return weights_for(SSCD)


def load(name: str, path: Path | None) -> object:
    return load_descriptor(DescriptorConfig(model_name=name, model_path=path, resize_size=32), CPU)


def test_the_three_sscd_layouts_load_and_two_are_one_descriptor(
    sscd_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    names = classy_keys(sscd_state)
    files = [
        save({f"backbone.{key}": value for key, value in sscd_state.items()}, tmp_path / "torchvision.pt"),
        save({names[key]: value for key, value in sscd_state.items()}, tmp_path / "classy.pt"),
        save_scripted(tiny_network(dim=512), tmp_path / "torchscript.pt"),
    ]
    descriptors = [
        load_descriptor(DescriptorConfig(model_name="sscd_disc_mixup", model_path=path, resize_size=32), CPU)
        for path in files
    ]
    assert [descriptor.dim for descriptor in descriptors] == [512] * 3
    assert {descriptor.name for descriptor in descriptors} == {"sscd_disc_mixup@square32"}
    fingerprints = [descriptor.fingerprint for descriptor in descriptors]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    loaded = descriptors[0].network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in sscd_state.items())


@pytest.mark.parametrize("layout", ["torchvision", "classy"])
def test_training_checkpoints_of_sscd_load_in_both_layouts(
    layout: str, sscd_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    names = classy_keys(sscd_state) if layout == "classy" else {key: f"backbone.{key}" for key in sscd_state}
    weights = {f"model.{names[key]}": value for key, value in sscd_state.items()}
    checkpoint = {
        "epoch": 99,
        "global_step": 24_400,
        "pytorch-lightning_version": "1.5.10",
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "epoch=99-step=24399.ckpt"}},
        "optimizer_states": [
            {"state": {0: {"momentum_buffer": torch.ones(1)}}, "param_groups": [{"lr": 0.0}]}
        ],
        "lr_schedulers": [{"last_epoch": 24_400, "base_lrs": [4.8]}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"args": argparse.Namespace(backbone="TV_RESNET50"), "train_steps": 244},
        "state_dict": weights,
    }
    path = save(checkpoint, tmp_path / "epoch=99-step=24399.ckpt")
    plain = save({f"backbone.{key}": value for key, value in sscd_state.items()}, tmp_path / "plain.pt")
    found, expected = (
        load_descriptor(DescriptorConfig(model_name="sscd_disc_mixup", model_path=each, resize_size=32), CPU)
        for each in (path, plain)
    )
    assert found.fingerprint == expected.fingerprint


def test_the_trunk_of_an_sscd_file_as_name_gives_the_whole_descriptor(
    sscd_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = save({f"backbone.{key}": value for key, value in sscd_state.items()}, tmp_path / "sscd.pt")
    by_trunk, by_name = (
        load_descriptor(DescriptorConfig(model_name=name, model_path=path, resize_size=32), CPU)
        for name in ("resnet50", "sscd_disc_mixup")
    )
    assert (by_trunk.dim, by_trunk.fingerprint) == (512, by_name.fingerprint)


def test_weights_that_only_a_person_can_download_are_named() -> None:
    with pytest.raises(ValueError, match=r"get stage_3\.pth\.tar .* pass the file with --model_path"):
        load("vit4icd", None)


@pytest.mark.parametrize("name", ["sscd_disc_large", "dino_resnet50", "dino_vits16", "isc_ft_v107"])
def test_each_kind_of_published_file_loads(name: str, tmp_path: Path) -> None:
    entry = PUBLISHED[name]
    state = weights_for(entry)
    if name == "sscd_disc_large":
        names = classy_keys(state)
        content: object = {names[key]: value for key, value in state.items()}
    elif name == "isc_ft_v107":
        wrapped = {f"module.{key}": value for key, value in state.items()}
        content = {"arch": "x", "args": argparse.Namespace(input_size=512), "state_dict": wrapped}
    else:
        content = {**state, "head.mlp.0.weight": torch.ones(1), "fc.bias": torch.ones(1)}
    path = save(content, tmp_path / "weights.pt")
    config = DescriptorConfig(model_name=name, model_path=path, resize_size=32)
    descriptor = load_descriptor(config, CPU)
    assert descriptor.dim == entry.dim
    assert descriptor.preprocessing == replace(entry.preprocessings[0], size=32)


class TestByName:
    @pytest.fixture
    def served(
        self, sscd_state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        wrapped = {f"backbone.{key}": value for key, value in sscd_state.items()}
        content = save(wrapped, tmp_path / "served.pt").read_bytes()
        with serving(content) as server:
            server.cut_after = len(content) // 3 + 1
            files = {"torchvision": PublishedFile(url=f"{server.url}/sscd_disc_mixup.torchvision.pt")}
            monkeypatch.setitem(PUBLISHED, "sscd_disc_mixup", replace(SSCD, files=files))
            yield

    @pytest.mark.usefixtures("served")
    def test_a_name_alone_downloads_over_interruptions_and_loads(self, cache: Path) -> None:
        config = DescriptorConfig(model_name="sscd_disc_mixup@shortedge288", resize_size=32)
        descriptor = load_descriptor(config, CPU)
        assert (descriptor.name, descriptor.dim) == ("sscd_disc_mixup@shortedge32", 512)
        assert (cache / "sscd_disc_mixup.torchvision.pt").is_file()

    def test_without_a_network_one_sentence_says_where_to_put_the_file(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {"torchvision": PublishedFile(url="http://127.0.0.1:9/sscd_disc_mixup.torchvision.pt")}
        monkeypatch.setitem(PUBLISHED, "sscd_disc_mixup", replace(SSCD, files=files))
        with pytest.raises(ConnectionError, match=rf"put it at {cache}/sscd_disc_mixup\.torchvision\.pt"):
            load("sscd_disc_mixup", None)


def test_wrong_keys_are_one_error(sscd_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    state = {key: value for key, value in sscd_state.items() if not key.startswith("fc.")}
    path = save({**state, "embeddings.1.other": torch.ones(1)}, tmp_path / "w.pt")
    expected = r"w\.pt do not fit .*2 missing \(fc\.weight, fc\.bias\); 1 unexpected \(embeddings\.1\.other\)"
    with pytest.raises(ValueError, match=expected):
        load("sscd_disc_mixup", path)


def test_torchscript_of_another_dimension_is_refused(tmp_path: Path) -> None:
    path = save_scripted(tiny_network(dim=8), tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt gives 8 values per image, sscd_disc_mixup has 512"):
        load("sscd_disc_mixup", path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pt does not exist"):
        load("sscd_disc_mixup", tmp_path / "absent.pt")
