"""Reading weights from files, safely, and loading them so that every key has its place."""

from __future__ import annotations

import argparse
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from active_indexing.checks import regular_file

# Where training programs nest the weights in a checkpoint; the last one present wins (published rule,
# and ``model``, where DeiT and timm's own training keep them).
NESTING_KEYS = ("state_dict", "model_state_dict", "teacher", "model")
# Left by DistributedDataParallel and by models that keep their network in an attribute.
WRAPPER_PREFIXES = ("module.", "backbone.")
# Lightning checkpoints, SSCD's among them, hold the training module; the network is its ``model``.
LIGHTNING_VERSION, LIGHTNING_NETWORK = "pytorch-lightning_version", "model."
SHOWN_KEYS = 4
_DAMAGED = (
    AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, OverflowError, RuntimeError,
    TypeError, ValueError, struct.error, safetensors.SafetensorError,
)  # fmt: skip
"""What torch's and safetensors' readers raise for bytes that mean nothing."""


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip with ``constants.pkl``, as torch itself decides."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error):
        return False


def read_checkpoint(path: Path) -> Any:
    """Content of a file of weights, without running code that the file may hold.

    Args:
        path: ``*.safetensors``, or what ``torch.save`` wrote: tensors, containers of tensors, plain values
            and argparse namespaces.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, is something else, or holds objects that could run code.
    """
    regular_file(path, "weights file", "check --model_path")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        # DINO's and ISC's files keep the command line of their training in a Namespace.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is not a file of weights, or holds more than tensors and plain values, which is "
            "refused because it could run code; save only its state_dict() with torch.save."
        ) from error
    except _DAMAGED as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{path} can't be read as weights ({reason}); it may be truncated: copy or download it again."
        ) from error


def nested_state_dict(checkpoint: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict inside a checkpoint, with the keys of the network that was trained.

    Args:
        checkpoint: what :func:`read_checkpoint` gave: a state dict, or a dict that holds one under
            ``NESTING_KEYS``. Of a Lightning checkpoint only what lies in its ``model`` is taken: a loss or a
            teacher may have weights, too.
        path: named in the error.

    Returns:
        Tensors by key; ``module.`` and Lightning's ``model.`` are removed, ``backbone.`` is not.

    Raises:
        ValueError: if there is no state dict, or two keys become the same.
    """
    nested = [key for key in NESTING_KEYS if isinstance(checkpoint, Mapping) and key in checkpoint]
    state = checkpoint[nested[-1]] if nested else checkpoint
    if not is_state_dict(state):
        raise ValueError(
            f"{path} holds no state dict (tensors by name), neither at its top nor under "
            f"{', '.join(NESTING_KEYS)}; save the network's state_dict() with torch.save."
        )
    inside = [key for key in state if key.startswith(LIGHTNING_NETWORK)]
    if inside and (len(inside) == len(state) or LIGHTNING_VERSION in checkpoint):
        state = {key.removeprefix(LIGHTNING_NETWORK): state[key] for key in inside}
    return _renamed(state, lambda key: key.removeprefix("module."), path)


def find_state_dict(checkpoint: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict inside a checkpoint, its keys without wrapper prefixes.

    Args:
        checkpoint: as for :func:`nested_state_dict`.
        path: named in the error.

    Returns:
        Tensors by key; leading ``module.`` and ``backbone.`` are removed, repeatedly.

    Raises:
        ValueError: if there is no state dict, or two keys become the same.
    """
    return _renamed(nested_state_dict(checkpoint, path), _without_wrappers, path)


def load_strictly(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    source: str,
    removed: tuple[str, ...] = (),
) -> None:
    """Load weights so that every key of the network is filled and every key of the file is used.

    Args:
        network: filled in place, in its own dtype.
        state: tensors by key.
        source: where the weights come from, named in the error.
        removed: prefixes of parts that were cut off the network on purpose, e.g. ``fc.``; keys under
            them that the network does not have are left out.

    Raises:
        ValueError: names the first missing, unexpected and wrongly shaped keys, all at once.
    """
    own = network.state_dict()
    used = {key: value for key, value in state.items() if key in own or not key.startswith(removed)}
    shapes = {key: (tuple(used[key].shape), tuple(own[key].shape)) for key in own if key in used}
    problems = [
        _listed("missing", [key for key in own if key not in used]),
        _listed("unexpected", [key for key in used if key not in own]),
        _listed(
            "wrong shape",
            [f"{key} {got}, expected {want}" for key, (got, want) in shapes.items() if got != want],
        ),
    ]
    if any(problems):
        raise ValueError(
            f"the weights of {source} do not fit the network: {'; '.join(filter(None, problems))}. "
            "Choose the architecture they were trained with by --model_name."
        )
    try:
        network.load_state_dict(used)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"the weights of {source} can't be loaded: some are sparse, quantised or without values; "
            "save plain tensors with torch.save."
        ) from error


def _listed(label: str, keys: list[str]) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return f"{len(keys)} {label} ({', '.join(keys[:SHOWN_KEYS])}{more})"


def is_state_dict(state: Any) -> bool:
    """Whether these are tensors by name."""
    return (
        isinstance(state, Mapping)
        and len(state) > 0
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items())
    )


def _renamed(
    state: Mapping[str, torch.Tensor], rename: Callable[[str], str], path: Path
) -> dict[str, torch.Tensor]:
    renamed = {rename(key): tensor for key, tensor in state.items()}
    if len(renamed) != len(state):
        raise ValueError(
            f"{path} holds several networks: some keys differ only in "
            f"{' and '.join(WRAPPER_PREFIXES)}; save the one to be used alone."
        )
    return renamed


def _without_wrappers(key: str) -> str:
    while key.startswith(WRAPPER_PREFIXES):
        key = key.split(".", 1)[1]
    return key
