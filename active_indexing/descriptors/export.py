"""Descriptors for other programs: one TorchScript or ONNX file, checked against the original.

The graph is :meth:`Descriptor.describe`: resized and normalised images in, unit vectors out, the convention
of the published SSCD files. How to resize and normalise is stored in the file as JSON under
``PREPROCESSING_ENTRY``; :func:`load_descriptor` reads it back from TorchScript.
"""

from __future__ import annotations

import copy
import importlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from active_indexing.artefacts.atomic import write_bytes
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.weights.torchscript import PREPROCESSING_ENTRY, ScriptedNetwork

# Largest difference of a coordinate of a unit vector that reordered float32 sums explain.
TOLERANCE = 1e-4
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class _Graph(nn.Module):
    """``describe`` under the name that exporters call."""

    def __init__(self, descriptor: Descriptor) -> None:
        super().__init__()
        self.descriptor = copy.deepcopy(descriptor).cpu()
        self.eval()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.descriptor.describe(inputs)


def export_torchscript(descriptor: Descriptor, path: Path) -> float:
    """Write the descriptor as a TorchScript file that needs neither this package nor its Python code.

    Args:
        descriptor: any, on any device; the file is for the CPU and can be loaded on any.
        path: usually ``*.torchscript.pt``.

    Returns:
        Largest difference of a coordinate between the file and the descriptor.

    Raises:
        ValueError: if the outputs differ by more than rounding; nothing is written.
    """
    graph = _Graph(descriptor)
    inputs = _sample(descriptor, 2, wide=False)
    content = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # TorchScript is deprecated; a fixed input size and a fixed number of layers are what is wanted.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.trace(graph, inputs, check_trace=False)
        torch.jit.save(traced, content, _extra_files={PREPROCESSING_ENTRY: _preprocessing_json(descriptor)})
        difference = _check(descriptor, lambda batch: traced(batch).numpy(), "TorchScript")
    write_bytes(path, content.getvalue())
    return difference


def export_onnx(descriptor: Descriptor, path: Path) -> float:
    """Write the descriptor as one ONNX file with input ``inputs`` and output ``descriptors``.

    The batch size is free; height and width are free where the preprocessing keeps the aspect ratio.

    Args:
        descriptor: any but one that came from TorchScript.
        path: usually ``*.onnx``.

    Returns:
        Largest difference of a coordinate between the file under onnxruntime and the descriptor.

    Raises:
        ImportError: if the packages that write and run ONNX are not installed.
        ValueError: if the network came from TorchScript, or the outputs differ by more than rounding; nothing
            is written.
    """
    try:
        onnxruntime = [importlib.import_module(package) for package in ONNX_PACKAGES][-1]
    except ImportError as error:
        raise ImportError(
            f"exporting to ONNX needs {', '.join(ONNX_PACKAGES)}, and {error.name} is not installed; "
            f"run: pip install {' '.join(ONNX_PACKAGES)}"
        ) from error
    if isinstance(descriptor.network, ScriptedNetwork):
        raise ValueError(
            f"{descriptor.name} came from TorchScript, which PyTorch no longer converts to ONNX; "
            "load its weights from a state dict (for SSCD, its torchvision layout)."
        )
    free = {0: torch.export.Dim.DYNAMIC}
    if descriptor.preprocessing.resize == "short_edge":
        free |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program: Any = torch.onnx.export(
        _Graph(descriptor),
        (_sample(descriptor, 2, wide=True),),
        input_names=["inputs"],
        output_names=["descriptors"],
        dynamic_shapes=(free,),
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props[PREPROCESSING_ENTRY] = _preprocessing_json(descriptor)
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    difference = _check(
        descriptor, lambda batch: session.run(["descriptors"], {"inputs": batch.numpy()})[0], "ONNX"
    )
    write_bytes(path, content)
    return difference


def _check(descriptor: Descriptor, exported: Any, kind: str) -> float:
    """Largest difference over batches of other sizes than the one the graph was made with."""
    graph = _Graph(descriptor)
    difference = 0.0
    for count, wide in ((1, False), (3, True)):
        inputs = _sample(descriptor, count, wide=wide)
        with torch.no_grad():
            expected = graph(inputs).numpy()
        difference = max(difference, float(np.abs(exported(inputs) - expected).max()))
    if not difference <= TOLERANCE:
        raise ValueError(
            f"the {kind} export of {descriptor.name} differs from it by {difference:.2g}, more than "
            f"{TOLERANCE:g}; nothing was written. Some layer of this network does not export faithfully."
        )
    return difference


def _sample(descriptor: Descriptor, count: int, *, wide: bool) -> torch.Tensor:
    """Preprocessed noise, of another aspect ratio where the preprocessing keeps it."""
    size = descriptor.preprocessing.size
    generator = torch.Generator().manual_seed(count)
    pixels = torch.rand(count, 3, size, size * 3 // 2 if wide else size, generator=generator)
    return descriptor.preprocessing(pixels)


def _preprocessing_json(descriptor: Descriptor) -> str:
    return json.dumps(descriptor.preprocessing.as_dict())
