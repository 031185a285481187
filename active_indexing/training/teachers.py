"""Frozen networks to learn from: any descriptor that the program loads, or an ONNX file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.training.objectives.interface import Teacher

# Test size of SSCD, for ONNX files that take any.
ONNX_SIZE = 288
ONNX_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


def load_teacher(config: DescriptorConfig, device: torch.device) -> Teacher:
    """The teacher that the settings name.

    Args:
        config: as for any descriptor; a ``model_path`` that ends in ``.onnx`` is run by onnxruntime.
        device: where a network of torch runs.

    Returns:
        From (B, 3, S, S) pixels in [0, 1] to (B, D) float32: what the network gives, not normalised by us.

    Raises:
        FileNotFoundError, ValueError, ImportError: if the teacher can't be loaded, with what to do.
    """
    path = Path(config.model_path) if config.model_path is not None else None
    if path is not None and path.suffix == ".onnx":
        return ONNXTeacher(path, config.resize_size or ONNX_SIZE)
    return DescriptorTeacher(load_descriptor(config, device))


class DescriptorTeacher:
    """The raw output of a descriptor's network."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor

    @torch.no_grad()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """See :func:`load_teacher`."""
        network = self.descriptor.network
        features: torch.Tensor = network(self.descriptor.preprocessing(pixels)).float()
        return features


class ONNXTeacher:
    """An ONNX file on the CPU, with one image input: (B, H, W, 3) uint8, or (B, 3, H, W) float in [0, 1].

    Args:
        path: of the file.
        size: images are squeezed to (size, size) pixels, bilinear and antialiased.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if onnxruntime is missing.
        ValueError: if the file is no model, or its input is of another kind.
    """

    def __init__(self, path: Path, size: int) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"the ONNX file {path} does not exist; check --teacher.")
        self.size = size
        self._session = _open_session(path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in ONNX_TYPES or len(inputs[0].shape) != 4:
            found = [(each.name, each.type, each.shape) for each in inputs]
            raise ValueError(
                f"{path} takes {found}; expected one input, (B, H, W, 3) uint8 or (B, 3, H, W) float."
            )
        self._name, self._type = inputs[0].name, ONNX_TYPES[inputs[0].type]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """See :func:`load_teacher`; images go through one by one, since int8 files scale whole batches."""
        squeezed = F.interpolate(pixels.cpu(), (self.size, self.size), mode="bilinear", antialias=True)
        squeezed = squeezed.clamp(0, 1)
        if self._type is np.uint8:
            images = (squeezed * 255).round().byte().permute(0, 2, 3, 1)
        else:
            images = squeezed.float()
        rows = [self._session.run(None, {self._name: image[None].numpy()})[0] for image in images]
        return torch.from_numpy(np.concatenate(rows)).float().to(pixels.device)


def _open_session(path: Path) -> Any:
    """A session that runs on as many threads as torch.

    Raises:
        ImportError, ValueError: see :class:`ONNXTeacher`.
    """
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ImportError(
            "an ONNX teacher needs the package onnxruntime; run: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own classes, which derive from Exception alone
        raise ValueError(f"{path} is no ONNX model that onnxruntime can run: {error}") from error
