from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from active_indexing.descriptors import export
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.export import export_onnx, export_torchscript
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.descriptors.postprocessing import fit_postprocessing
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights.torchscript import PREPROCESSING_ENTRY
from tests.descriptors.tiny import CPU, TinyNetwork, tiny_network

SQUARE = Preprocessing(24, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
SHORT_EDGE = Preprocessing(24, "short_edge")


class Alternating(TinyNetwork):
    """A network that no single graph can hold: what it does depends on the batch size."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        values = super().forward(inputs)
        return values if len(inputs) == 2 else values.flip(1)


def descriptor_of(network: nn.Module, preprocessing: Preprocessing = SQUARE) -> Descriptor:
    return Descriptor(network, preprocessing, model="tiny", architecture="tiny")


@pytest.mark.parametrize("preprocessing", [SQUARE, SHORT_EDGE])
def test_an_exported_torchscript_file_loads_as_the_same_descriptor(
    preprocessing: Preprocessing, tmp_path: Path, pixels: torch.Tensor
) -> None:
    original = descriptor_of(tiny_network(), preprocessing)
    difference = export_torchscript(original, tmp_path / "tiny.pt")
    loaded = load_descriptor(DescriptorConfig(model_path=tmp_path / "tiny.pt"), CPU)
    assert difference < 1e-6
    assert loaded.preprocessing == original.preprocessing
    torch.testing.assert_close(loaded(pixels), original(pixels))


def test_a_real_network_with_postprocessing_exports(tmp_path: Path, pixels: torch.Tensor) -> None:
    torch.manual_seed(0)
    original = descriptor_of(build_network("resnet10", 16))
    images = torch.rand(40, 3, 24, 24)
    with torch.no_grad():
        vectors = original(images).numpy()
    original.add_postprocessing(fit_postprocessing(vectors, descriptor=original.fingerprint, dim=4))
    assert export_torchscript(original, tmp_path / "net.pt") < export.TOLERANCE
    loaded = load_descriptor(DescriptorConfig(model_path=tmp_path / "net.pt"), CPU)
    assert loaded.dim == 4
    torch.testing.assert_close(loaded(pixels), original(pixels), rtol=0, atol=1e-4)


def test_exporting_leaves_the_descriptor_as_it_was(tmp_path: Path) -> None:
    descriptor = descriptor_of(tiny_network())
    before = descriptor.fingerprint
    export_torchscript(descriptor, tmp_path / "tiny.pt")
    assert descriptor.fingerprint == before
    assert not descriptor.training


def test_an_export_that_differs_is_refused_and_not_written(tmp_path: Path) -> None:
    network = Alternating()
    with pytest.raises(
        ValueError, match=r"TorchScript export of tiny@square24 differs from it by .* nothing"
    ):
        export_torchscript(descriptor_of(network), tmp_path / "tiny.pt")
    assert list(tmp_path.iterdir()) == []


def test_without_the_onnx_packages_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"onnxruntime, and onnx is not installed; run: pip install onnx"):
        export_onnx(descriptor_of(tiny_network()), tmp_path / "tiny.onnx")


@pytest.mark.slow  # eight seconds where the ONNX packages are installed
@pytest.mark.parametrize("preprocessing", [SQUARE, SHORT_EDGE])
def test_an_onnx_file_gives_the_same_descriptors(preprocessing: Preprocessing, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="ONNX packages are optional")
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX packages are optional")
    descriptor = descriptor_of(build_network("resnet10", 16), preprocessing)
    path = tmp_path / "net.onnx"
    assert export_onnx(descriptor, path) < export.TOLERANCE
    session = onnxruntime.InferenceSession(path)
    stored = json.loads(session.get_modelmeta().custom_metadata_map[PREPROCESSING_ENTRY])
    assert Preprocessing.from_dict(stored) == preprocessing
    inputs = preprocessing(torch.rand(5, 3, 30, 40))
    (result,) = session.run(None, {"inputs": inputs.numpy()})
    torch.testing.assert_close(torch.from_numpy(result), descriptor.describe(inputs), rtol=0, atol=1e-4)


def test_torchscript_can_not_become_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="ONNX packages are optional")
    pytest.importorskip("onnxruntime", reason="ONNX packages are optional")
    export_torchscript(descriptor_of(tiny_network()), tmp_path / "tiny.pt")
    scripted = load_descriptor(DescriptorConfig(model_path=tmp_path / "tiny.pt"), CPU)
    with pytest.raises(ValueError, match="came from TorchScript, which PyTorch no longer converts"):
        export_onnx(scripted, tmp_path / "tiny.onnx")
