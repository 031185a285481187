from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from active_indexing.descriptors.weights.checkpoints import (
    find_state_dict,
    is_torchscript,
    load_strictly,
    read_checkpoint,
)
from tests.descriptors.tiny import save_scripted, tiny_network

HERE = Path("weights.pt")


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("made-by-a-pickle",)


def test_a_saved_state_dict_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(tiny_network().state_dict(), path)
    state = find_state_dict(read_checkpoint(path), path)
    assert torch.equal(state["fc.weight"], tiny_network().fc.weight)


def test_a_checkpoint_with_its_training_arguments_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"args": argparse.Namespace(lr=0.1), "teacher": {"a": torch.ones(1)}}, path)
    assert list(find_state_dict(read_checkpoint(path), path)) == ["a"]


def test_a_file_that_could_run_code_is_refused_and_runs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": RunsCode()}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="refused because it could run code"):
        read_checkpoint(tmp_path / "weights.pt")
    assert not (tmp_path / "made-by-a-pickle").exists()


@pytest.mark.parametrize("kept", [0, 1, 10, 500, 2000])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "weights.pt"
    torch.save(tiny_network().state_dict(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"weights\.pt (can't be read|is not a file of weights)"):
        read_checkpoint(path)


def test_safetensors_are_read_and_truncated_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"a": torch.arange(6.0)}, path)
    assert torch.equal(find_state_dict(read_checkpoint(path), path)["a"], torch.arange(6.0))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"weights\.safetensors can't be read as weights \("):
        read_checkpoint(path)


def test_text_named_pt_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_text("<html>404 Not Found</html>")
    with pytest.raises(ValueError, match="is not a file of weights"):
        read_checkpoint(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pt does not exist; check --model_path"):
        read_checkpoint(tmp_path / "absent.pt")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "teacher", "model"])
def test_nested_state_dicts_are_found(key: str) -> None:
    state = find_state_dict({"epoch": 3, key: {"fc.bias": torch.ones(2)}}, HERE)
    assert list(state) == ["fc.bias"]


def test_of_two_nested_state_dicts_the_teacher_wins_over_the_student() -> None:
    checkpoint = {"teacher": {"a": torch.ones(1)}, "state_dict": {"b": torch.ones(1)}}
    assert list(find_state_dict(checkpoint, HERE)) == ["a"]


def test_wrapper_prefixes_are_removed_at_the_start_only() -> None:
    one = torch.ones(1)
    keys = {"module.backbone.conv1.weight": one, "backbone.fc.bias": one, "neck.module.a": one}
    assert list(find_state_dict(keys, HERE)) == ["conv1.weight", "fc.bias", "neck.module.a"]


def test_of_a_lightning_checkpoint_only_the_model_is_taken() -> None:
    state = {"model.backbone.a": torch.ones(1), "teacher.backbone.a": torch.zeros(1)}
    found = find_state_dict({"state_dict": state, "pytorch-lightning_version": "1.5.10"}, HERE)
    assert found == {"a": torch.ones(1)}


def test_a_network_that_has_a_model_among_others_keeps_its_keys() -> None:
    state = {"model.a": torch.ones(1), "head.a": torch.zeros(1)}
    assert list(find_state_dict(state, HERE)) == ["model.a", "head.a"]


def test_two_networks_in_one_file_are_refused() -> None:
    with pytest.raises(ValueError, match="holds several networks"):
        find_state_dict({"backbone.a": torch.ones(1), "a": torch.ones(1)}, HERE)


@pytest.mark.parametrize("content", [{}, [torch.ones(1)], {"epoch": 3}, torch.ones(2), {"model": {}}])
def test_a_file_without_a_state_dict_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="holds no state dict"):
        find_state_dict(content, HERE)


def test_every_kind_of_mismatch_is_reported_in_one_error() -> None:
    network = tiny_network()
    state = dict(network.state_dict())
    del state["conv.bias"]
    state["fc.bias"] = torch.zeros(9)
    state |= {f"extra{number}.weight": torch.zeros(1) for number in range(6)}
    expected = (
        r"w\.pt do not fit the network: 1 missing \(conv\.bias\); 6 unexpected \(extra0.*extra3\.weight "
        r"and 2 more\); 1 wrong shape \(fc\.bias \(9,\), expected \(8,\)\)"
    )
    with pytest.raises(ValueError, match=expected):
        load_strictly(network, state, source="w.pt")


def test_a_refused_state_dict_leaves_the_network_as_it_was() -> None:
    network, other = tiny_network(seed=0), tiny_network(seed=1).state_dict()
    with pytest.raises(ValueError, match="1 unexpected"):
        load_strictly(network, {**other, "extra": torch.ones(1)}, source="w.pt")
    assert torch.equal(network.fc.weight, tiny_network(seed=0).fc.weight)


def test_keys_of_a_removed_part_are_left_out() -> None:
    network = tiny_network()
    state = {**network.state_dict(), "classifier.weight": torch.ones(1)}
    load_strictly(network, state, source="w.pt", removed=("classifier.",))
    with pytest.raises(ValueError, match=r"1 unexpected \(classifier\.weight\)"):
        load_strictly(network, state, source="w.pt")


def test_torchscript_is_told_from_a_state_dict(tmp_path: Path) -> None:
    torch.save(tiny_network().state_dict(), tmp_path / "weights.pt")
    assert is_torchscript(save_scripted(tiny_network(), tmp_path / "scripted.pt"))
    assert not is_torchscript(tmp_path / "weights.pt")
