"""From the settings of a run to a descriptor that is ready to use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from active_indexing.config import DescriptorConfig
from active_indexing.descriptors.checkpoints import is_torchscript, read_checkpoint
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.descriptor_file import is_descriptor_file, parse_descriptor_file
from active_indexing.descriptors.libraries import PUBLISHED_SIZE, load_library_network
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.torchscript import load_torchscript

DEFAULT_DESCRIPTOR = Path(__file__).parents[1] / "assets" / "default_descriptor.pt"


def load_descriptor(config: DescriptorConfig, device: torch.device) -> Descriptor:
    """The descriptor that the settings ask for, in evaluation mode, without gradients of its weights.

    ``model_name`` decides: absent, ``model_path`` is a file of ours or TorchScript, or the default
    descriptor when that is absent too; ``torchscript``; or an architecture of torchvision or timm, with
    the weights of ``model_path`` or the library's own.

    Args:
        config: name, file and input size.
        device: where the network runs.

    Returns:
        Descriptor on ``device``; its name and fingerprint include the input size.

    Raises:
        FileNotFoundError: if a file is absent.
        ValueError: if a name is unknown, a file is damaged or does not fit, or the model's output is not
            one finite vector per image.
        ConnectionError: if the library's own weights can't be downloaded.
    """
    path = Path(config.model_path) if config.model_path is not None else None
    if config.model_name is None:
        network, preprocessing, model, architecture = _from_file(path, device)
    elif config.model_name == "torchscript":
        network, preprocessing, model, architecture = _from_torchscript(path, device)
    else:
        if path is not None and path.is_file() and is_torchscript(path):
            raise ValueError(
                f"{path} is a TorchScript file, which holds its own architecture; "
                f"pass --model_name torchscript instead of {config.model_name}."
            )
        network, preprocessing, architecture = load_library_network(
            config.model_name, path, config.resize_size
        )
        model = config.model_name
    if config.resize_size is not None:
        preprocessing = replace(preprocessing, size=config.resize_size)
    return Descriptor(network.to(device), preprocessing, model=model, architecture=architecture)


def _from_file(path: Path | None, device: torch.device) -> tuple[nn.Module, Preprocessing, str, str]:
    """A file of ours, the default one if no file is given, or else TorchScript."""
    if path is not None and path.is_file() and is_torchscript(path):
        return _from_torchscript(path, device)
    source = path or DEFAULT_DESCRIPTOR
    if path is None and not source.is_file():
        raise FileNotFoundError(
            f"the default descriptor {source} is missing from this installation; "
            "install the package again, or pass --model_name or --model_path."
        )
    content = read_checkpoint(source)
    if not is_descriptor_file(content):
        raise ValueError(
            f"{source} is neither a descriptor file of this program nor TorchScript; "
            "if it holds weights, name their architecture with --model_name."
        )
    network, head, preprocessing = parse_descriptor_file(content, source)
    return network, preprocessing, "default" if path is None else source.stem, head.architecture


def _from_torchscript(path: Path | None, device: torch.device) -> tuple[nn.Module, Preprocessing, str, str]:
    if path is None:
        raise ValueError("--model_name torchscript needs the file: pass it with --model_path.")
    network, architecture = load_torchscript(path, device)
    return network, Preprocessing(PUBLISHED_SIZE), path.stem, architecture
