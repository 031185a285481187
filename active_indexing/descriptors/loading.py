"""From the settings of a run to a descriptor that is ready to use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.libraries import PUBLISHED_SIZE, load_library_network
from active_indexing.descriptors.postprocessing import load_postprocessing, postprocessing_path
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.published import Choice, choose_published, load_published
from active_indexing.descriptors.weights.checkpoints import is_torchscript, read_checkpoint
from active_indexing.descriptors.weights.descriptor_file import is_descriptor_file, parse_descriptor_file
from active_indexing.descriptors.weights.torchscript import load_torchscript

DEFAULT_DESCRIPTOR = Path(__file__).parents[1] / "assets" / "default_descriptor.pt"


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Parts of a descriptor.

    Attributes:
        network: from preprocessed images to raw descriptors.
        preprocessing: what it was trained with.
        model: name for people.
        architecture: part of the fingerprint.
        file: the weights, if they are a file of the user, of the package or of the cache.
        dim: the length a published descriptor must have.
    """

    network: nn.Module
    preprocessing: Preprocessing
    model: str
    architecture: str
    file: Path | None
    dim: int | None = None


def load_descriptor(config: DescriptorConfig, device: torch.device) -> Descriptor:
    """The descriptor that the settings ask for, in evaluation mode, without gradients of its weights.

    ``model_name`` decides: absent, ``model_path`` is a file of ours or TorchScript, or the default
    descriptor when that is absent too; ``torchscript``; a published descriptor of ``registry.PUBLISHED``;
    or an architecture of torchvision or timm. The last two take the weights of ``model_path``, or download
    them. Post-processing that lies beside the file of weights is applied.

    Args:
        config: name, file and input size.
        device: where the network runs.

    Returns:
        Descriptor on ``device``; its name and fingerprint include the input size.

    Raises:
        FileNotFoundError: if a file is absent.
        ValueError: if a name is unknown, a file is damaged or does not fit, or the model's output is not
            one finite vector per image.
        ConnectionError: if weights can't be downloaded.
    """
    found = _find(config, device)
    preprocessing = found.preprocessing
    if config.resize_size is not None:
        preprocessing = replace(preprocessing, size=config.resize_size)
    if config.resize is not None:
        preprocessing = replace(preprocessing, resize=config.resize)  # type: ignore[arg-type]  # is checked
    descriptor = Descriptor(
        found.network.to(device), preprocessing, model=found.model, architecture=found.architecture
    )
    if found.dim not in (None, descriptor.dim):
        raise ValueError(
            f"{found.file} gives {descriptor.dim} values per image, {found.model} has {found.dim}: "
            "it is another model; pass it with --model_name torchscript."
        )
    if found.file is not None and postprocessing_path(found.file).is_file():
        descriptor.add_postprocessing(load_postprocessing(postprocessing_path(found.file)))
    return descriptor


def _find(config: DescriptorConfig, device: torch.device) -> _Found:
    path = Path(config.model_path) if config.model_path is not None else None
    if config.model_name is None:
        return _from_file(path, device)
    if config.model_name == "torchscript":
        return _from_torchscript(path, device)
    choice = choose_published(config.model_name)
    if choice is not None:
        return _from_registry(choice, path, device)
    return _from_library(config.model_name, path)


def _from_file(path: Path | None, device: torch.device) -> _Found:
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
    return _Found(
        network=network,
        preprocessing=preprocessing,
        model="default" if path is None else source.stem,
        architecture=head.architecture,
        file=source,
    )


def _from_torchscript(path: Path | None, device: torch.device) -> _Found:
    if path is None:
        raise ValueError("--model_name torchscript needs the file: pass it with --model_path.")
    network, architecture, preprocessing = load_torchscript(path, device)
    return _Found(
        network=network,
        preprocessing=preprocessing or Preprocessing(PUBLISHED_SIZE),
        model=path.stem,
        architecture=architecture,
        file=path,
    )


def _from_registry(choice: Choice, path: Path | None, device: torch.device) -> _Found:
    network, architecture, file = load_published(choice, path, device)
    return _Found(
        network=network,
        preprocessing=choice.preprocessing,
        model=choice.name,
        architecture=architecture,
        file=file,
        dim=choice.entry.dim,
    )


def _from_library(name: str, path: Path | None) -> _Found:
    if path is not None and path.is_file() and is_torchscript(path):
        raise ValueError(
            f"{path} is a TorchScript file, which holds its own architecture; "
            f"pass --model_name torchscript instead of {name}."
        )
    network, preprocessing, architecture = load_library_network(name, path)
    return _Found(
        network=network, preprocessing=preprocessing, model=name, architecture=architecture, file=path
    )
