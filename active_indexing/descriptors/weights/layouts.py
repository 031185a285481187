"""Key names of published files, translated to those of our networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

State = Mapping[str, torch.Tensor]

# ClassyVision wrote ``blocks.2.block2-0.`` and, in old releases, ``blocks.2.0._module.``.
_CLASSY_BLOCK = re.compile(r"blocks\.(\d+)\.(?:block\d+-(\d+)|(\d+)\._module)\.(.+)")
_CLASSY_STEM = {"initial_block._module.0.": "conv1.", "initial_block._module.1.": "bn1."}
_CLASSY_HEAD = "embeddings.1."
# Inside a block, by position in its sequence; 2 and 5 are ReLUs.
_CLASSY_LAYERS = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3"}


def is_classy(state: State) -> bool:
    """Whether the keys, without ``backbone.``, are ClassyVision's."""
    return any(key.startswith("initial_block.") for key in state)


def classy_to_torchvision(state: State) -> dict[str, torch.Tensor]:
    """An SSCD file in ClassyVision's layout with the keys of torchvision's ResNet.

    Args:
        state: tensors by key, without the prefix ``backbone.``.

    Returns:
        The same tensors; keys that the layout does not have are kept, so that strict loading names them.
    """
    # The last batch norm is called ``bn`` in every block: the third of a bottleneck, the second of a
    # basic block.
    last = "bn3" if any(".convolutional_block.6." in key for key in state) else "bn2"
    return {_from_classy(key, last): tensor for key, tensor in state.items()}


def _from_classy(key: str, last_norm: str) -> str:
    for old, new in _CLASSY_STEM.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    if key.startswith(_CLASSY_HEAD):
        return "fc." + key.removeprefix(_CLASSY_HEAD)
    match = _CLASSY_BLOCK.fullmatch(key)
    if match is None:
        return key
    stage, new_index, old_index, rest = match.groups()
    inside = re.sub(
        r"^convolutional_block\.(\d+)\.",
        lambda layer: f"{_CLASSY_LAYERS.get(layer[1], 'convolutional_block.' + layer[1])}.",
        re.sub(r"^bn\.", f"{last_norm}.", rest),
    )
    return f"layer{int(stage) + 1}.{new_index or old_index}.{inside}"


def sscd(state: State) -> dict[str, torch.Tensor]:
    """An SSCD state dict of either layout with the keys of ``build_network``'s ResNets."""
    return classy_to_torchvision(state) if is_classy(state) else dict(state)


def sscd_projection(state: State) -> int | None:
    """Length of the descriptor of an SSCD state dict, or ``None`` if the keys are not SSCD's.

    In torchvision's layout everything lies under ``backbone.``, the projection as ``fc``; in ClassyVision's
    the projection lies beside it.

    Args:
        state: tensors by key, with ``backbone.``.
    """
    projection = state.get("embeddings.1.weight", state.get("backbone.fc.weight"))
    known = all(key.startswith(("backbone.", "embeddings.")) for key in state)
    return projection.shape[0] if known and projection is not None else None


def sscd_architecture(backbone: str, dim: int) -> str:
    """One line that names the network of an SSCD file."""
    return f"{backbone}+gem3+linear{dim}"


def vit4icd(state: State) -> dict[str, torch.Tensor]:
    """A ViT4ICD state dict: its trunk is the one member of a sequence."""
    return {key.replace("base.0.", "base.", 1): tensor for key, tensor in state.items()}


def unchanged(state: State) -> dict[str, torch.Tensor]:
    """Keys that fit as they are."""
    return dict(state)


def isc(state: State) -> dict[str, torch.Tensor]:
    """An ISC-dt1 state dict, whose trunk lost its prefix ``backbone.`` with the wrappers."""
    return {
        key if key.startswith(("fc.", "bn.")) else f"backbone.{key}": tensor for key, tensor in state.items()
    }


Translation = Callable[[State], dict[str, torch.Tensor]]
