"""The project's own file of a trained descriptor: weights, architecture and preprocessing together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights.checkpoints import is_state_dict, load_strictly

FORMAT = "active_indexing.descriptor/1"
MOST_DIMENSIONS = 65_536
"""32 times the longest descriptor in use (2,048, an untrained projection of a ResNet-50)."""

KEYS = ("backbone", "dim", "gem_p", "preprocessing", "state_dict")


@dataclass(frozen=True, kw_only=True)
class Head:
    """Arguments of ``build_network``: what turns a backbone into a descriptor.

    Attributes:
        backbone: name of the convolutional or transformer trunk.
        dim: length of the descriptor.
        gem_p: exponent of generalised-mean pooling.
    """

    backbone: str
    dim: int
    gem_p: float = 3.0

    @property
    def architecture(self) -> str:
        """One line that names the whole network."""
        return f"{self.backbone}+gem{self.gem_p:g}+linear{self.dim}"

    def build(self) -> nn.Module:
        """A network of this shape with fresh random weights."""
        return build_network(self.backbone, self.dim, self.gem_p)


def write_descriptor_file(
    path: Path,
    network: nn.Module,
    head: Head,
    preprocessing: Preprocessing,
    *,
    half: bool = True,
) -> None:
    """Write a trained network to one file, atomically.

    Args:
        path: usually ``*.pt``.
        network: what ``head.build()`` made, trained.
        head: its shape.
        preprocessing: what it was trained with.
        half: store floats in 16 bits, half the file.

    Raises:
        ValueError: if a weight is not finite, or leaves the range of 16-bit floats.
    """
    dtype = torch.float16 if half else torch.float32
    state = {
        key: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype)
        for key, tensor in network.state_dict().items()
    }
    for key, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"the weight {key} is not finite as {tensor.dtype}; nothing was written.")
    content = {
        "format": FORMAT,
        **asdict(head),
        "preprocessing": preprocessing.as_dict(),
        "state_dict": state,
    }
    with atomic_file(path) as file:
        torch.save(content, file)


def is_descriptor_file(content: Any) -> bool:
    """Whether the content of a checkpoint says that it is one of ours, of any version."""
    name = content.get("format") if isinstance(content, Mapping) else None
    return isinstance(name, str) and name.startswith(FORMAT.split("/")[0])


def _check_fields(content: Mapping[str, Any], path: Path) -> None:
    """Refuse what would fail, or take all memory, while the network is built."""
    dim, gem_p, state = content["dim"], content["gem_p"], content["state_dict"]
    wrong = ""
    if not isinstance(content["backbone"], str):
        wrong = f"its backbone must be a name, got {content['backbone']!r:.80}"
    elif type(dim) is not int or not 1 <= dim <= MOST_DIMENSIONS:
        wrong = f"its dim must be a whole number from 1 to {MOST_DIMENSIONS:,}, got {dim!r:.80}"
    elif type(gem_p) not in (int, float) or not 1 <= gem_p:
        wrong = f"its gem_p must be a number of at least 1, got {gem_p!r:.80}"
    elif not is_state_dict(state):
        wrong = f"its state_dict must hold tensors by name, got {_kind(state)}"
    if wrong:
        raise ValueError(f"{path} is damaged: {wrong}; export the descriptor again.")


def _kind(state: Any) -> str:
    if not isinstance(state, Mapping):
        return f"a {type(state).__name__}"
    odd = next(((key, value) for key, value in state.items() if not isinstance(value, torch.Tensor)), None)
    return f"{type(odd[1]).__name__} under {odd[0]!r:.80}" if odd else "keys that are no text, or none"


def parse_descriptor_file(content: Mapping[str, Any], path: Path) -> tuple[nn.Module, Head, Preprocessing]:
    """The network of a file of ours, its shape, and its preprocessing.

    Args:
        content: what ``read_checkpoint`` gave.
        path: named in errors.

    Returns:
        Network with float32 weights on the CPU, its head, its preprocessing.

    Raises:
        ValueError: if the version is another, a field is absent, or weights and architecture disagree.
    """
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {content['format']!r}, expected {FORMAT!r}; "
            "use the version of this program that wrote it."
        )
    absent = [key for key in KEYS if key not in content]
    if absent:
        raise ValueError(f"{path} lacks {', '.join(absent)}; export the descriptor again.")
    _check_fields(content, path)
    head = Head(backbone=content["backbone"], dim=content["dim"], gem_p=content["gem_p"])
    try:
        preprocessing = Preprocessing.from_dict(content["preprocessing"])
        network = head.build().float()
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error} Export the descriptor again.") from error
    load_strictly(network, content["state_dict"], source=str(path))
    return network, head, preprocessing
