"""TorchScript files: how SSCD and the other published extractors are distributed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import nn

from active_indexing.artefacts.identity import sha256_file
from active_indexing.checks import regular_file
from active_indexing.descriptors.preprocessing import Preprocessing

# Entry of the archive in which our own exports say how they see images.
PREPROCESSING_ENTRY = "active_indexing.preprocessing.json"


class ScriptedNetwork(nn.Module):
    """A loaded TorchScript module, run by the plain interpreter.

    The profiling executor rewrites a graph during its first calls, and again when the input size
    changes: the first calls are slow and the result of a call may depend on those before it.
    """

    def __init__(self, module: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Whatever the file computes from (B, 3, h, w)."""
        with torch.jit.optimized_execution(False):
            return self.module(inputs)


def load_torchscript(path: Path, device: torch.device) -> tuple[ScriptedNetwork, str, Preprocessing | None]:
    """The network of a TorchScript file, a name of its architecture, and its preprocessing.

    Args:
        path: written by ``torch.jit.save``.
        device: where its tensors go.

    Returns:
        Network; ``torchscript.`` with the SHA-256 of the file, whose code and constants are not in the
        state dict; the preprocessing if the file says it, as our own exports do.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not TorchScript or is damaged.
    """
    regular_file(path, "TorchScript file", "check --model_path")
    extra = {PREPROCESSING_ENTRY: ""}
    try:
        with warnings.catch_warnings():
            # Deprecated since torch 2.11 without a date of removal; the published files exist as they are.
            for category in (DeprecationWarning, FutureWarning):
                warnings.filterwarnings("ignore", r".*torch\.jit\.load", category)
            module = torch.jit.load(str(path), map_location=device, _extra_files=extra)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a readable TorchScript file; it may be truncated (copy it again) or hold a "
            "state dict (then name its architecture with --model_name)."
        ) from error
    stored = extra[PREPROCESSING_ENTRY]
    try:
        preprocessing = Preprocessing.from_dict(json.loads(stored)) if stored else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} holds a damaged {PREPROCESSING_ENTRY}: {error}") from error
    return ScriptedNetwork(module), f"torchscript.{sha256_file(path)}", preprocessing
