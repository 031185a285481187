from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights.checkpoints import read_checkpoint
from active_indexing.descriptors.weights.descriptor_file import (
    Head,
    is_descriptor_file,
    parse_descriptor_file,
    write_descriptor_file,
)
from tests.descriptors.tiny import TinyNetwork, tiny_network

HEAD = Head(backbone="tiny", dim=8, gem_p=2.5)
PREPROCESSING = Preprocessing(48, "short_edge", (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))


@pytest.fixture(autouse=True)
def _tiny_stands_in_for_every_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Head, "build", lambda head: TinyNetwork(head.dim))


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    write_descriptor_file(tmp_path / "d.pt", tiny_network(), HEAD, PREPROCESSING)
    return read_checkpoint(tmp_path / "d.pt")


@pytest.mark.parametrize("half", [False, True])
def test_what_is_written_is_read_back(tmp_path: Path, half: bool) -> None:
    path = tmp_path / "d.pt"
    write_descriptor_file(path, tiny_network(), HEAD, PREPROCESSING, half=half)
    network, head, preprocessing = parse_descriptor_file(read_checkpoint(path), path)
    assert (head, preprocessing) == (HEAD, PREPROCESSING)
    for ours, written in zip(network.parameters(), tiny_network().parameters(), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, written.half().float() if half else written)


def test_a_weight_that_16_bits_cannot_hold_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    network = tiny_network()
    network.norm.running_var.fill_(1e6)
    with pytest.raises(ValueError, match=r"norm\.running_var is not finite as torch\.float16"):
        write_descriptor_file(tmp_path / "d.pt", network, HEAD, PREPROCESSING)
    assert list(tmp_path.iterdir()) == []


def test_another_version_is_refused(content: dict[str, Any]) -> None:
    content["format"] = "active_indexing.descriptor/2"
    assert is_descriptor_file(content)
    with pytest.raises(ValueError, match=r"has format 'active_indexing\.descriptor/2', expected"):
        parse_descriptor_file(content, Path("d.pt"))


def test_an_absent_field_is_named(content: dict[str, Any]) -> None:
    del content["gem_p"]
    with pytest.raises(ValueError, match=r"d\.pt lacks gem_p"):
        parse_descriptor_file(content, Path("d.pt"))


def test_weights_of_another_dimension_are_refused(content: dict[str, Any]) -> None:
    content["dim"] = 9
    with pytest.raises(ValueError, match=r"2 wrong shape \(fc\.weight \(8, 6\), expected \(9, 6\)"):
        parse_descriptor_file(content, Path("d.pt"))


def test_a_state_dict_is_not_a_descriptor_file() -> None:
    assert not is_descriptor_file(tiny_network().state_dict())
    assert not is_descriptor_file([1])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("state_dict", [1, 2], "its state_dict must hold tensors by name, got a list"),
        (
            "state_dict",
            {"fc.weight": "text"},
            "its state_dict must hold tensors by name, got str under 'fc.weight'",
        ),
        ("state_dict", {}, "its state_dict must hold tensors by name"),
        ("dim", "eight", "its dim must be a whole number from 1 to 65,536, got 'eight'"),
        ("dim", 10**9, "its dim must be a whole number from 1 to 65,536, got 1000000000"),
        ("dim", True, "its dim must be a whole number"),
        ("gem_p", "3", "its gem_p must be a number of at least 1, got '3'"),
        ("gem_p", float("nan"), "its gem_p must be a number of at least 1, got nan"),
        ("backbone", ["resnet50"], "its backbone must be a name"),
        ("preprocessing", 3, "a preprocessing has size, resize, and three numbers each of mean, std; got 3"),
        ("preprocessing", {"size": 48}, "a preprocessing has size, resize"),
        ("preprocessing", {**PREPROCESSING.as_dict(), "size": 10**9}, "at most 4,096, got 1000000000"),
        ("preprocessing", {**PREPROCESSING.as_dict(), "size": "48"}, "at most 4,096, got '48'"),
        ("preprocessing", {**PREPROCESSING.as_dict(), "std": (0, 1, 1)}, "std not 0"),
        ("preprocessing", {**PREPROCESSING.as_dict(), "mean": "abc"}, "mean must be three finite numbers"),
        ("preprocessing", {**PREPROCESSING.as_dict(), "moon": 1}, "a preprocessing has size, resize"),
    ],
)
def test_a_field_of_another_kind_is_refused_in_words(
    content: dict[str, Any], field: str, value: Any, message: str
) -> None:
    content[field] = value
    with pytest.raises(ValueError, match=f"d.pt is damaged: .*{message}.*xport the descriptor again"):
        parse_descriptor_file(content, Path("d.pt"))
