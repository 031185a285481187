"""The one class every other module calls to turn images into unit vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from active_indexing.artefacts.identity import fingerprint
from active_indexing.descriptors.hashing import hash_tensors
from active_indexing.descriptors.postprocessing import Postprocessing
from active_indexing.descriptors.preprocessing import Preprocessing

# Enters every fingerprint: change it when the same weights would give other descriptors.
RECIPE = "bilinear-antialias/normalise/network/l2/1"


# What a network may raise for a batch; TorchScript's own error is a plain Exception.
_REFUSALS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
    torch.jit.Error,
)  # fmt: skip


class Descriptor(nn.Module):
    """A frozen network with its pre- and post-processing: RGB images in, unit vectors out.

    Always in evaluation mode and without gradients of its weights; gradients flow to the pixels.

    Attributes:
        name: model and input size, e.g. ``default@square160``.
        dim: D, the length of a descriptor.
        preprocessing: from pixels to the network's input.
        network: from preprocessed (B, 3, h, w) to raw (B, D).
        postprocessing: from unit vectors to the unit vectors that come out, or ``None``.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        model: str,
        architecture: str,
    ) -> None:
        """Freeze ``network`` and find its dimension with one pass over two made-up images.

        Args:
            network: from (B, 3, h, w) to (B, D), on its final device.
            preprocessing: what the network expects.
            model: name for people, e.g. ``resnet50``; the input size is appended to make ``name``.
            architecture: everything but the weights that defines the network; part of the fingerprint.

        Raises:
            ValueError: if the network rejects images of this size or does not give finite (B, D) floats.
        """
        super().__init__()
        self.name = f"{model}@{preprocessing.name}"
        self.architecture = architecture
        self.preprocessing = preprocessing
        self.network = network.eval().requires_grad_(False)
        self.postprocessing: Postprocessing | None = None
        self.dim = self._probe()
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Descriptors of images of one size.

        Args:
            pixels: (B, 3, H, W) floating point, RGB in [0, 1].

        Returns:
            (B, D) float32, unit norm.
        """
        return self.describe(self.preprocessing(pixels))

    def describe(self, inputs: torch.Tensor) -> torch.Tensor:
        """Descriptors of preprocessed images.

        Args:
            inputs: (B, 3, h, w), the output of ``preprocessing``.

        Returns:
            (B, D) float32, unit norm.
        """
        descriptors = F.normalize(self.network(inputs).float(), dim=1)
        return descriptors if self.postprocessing is None else self.postprocessing(descriptors)

    def add_postprocessing(self, postprocessing: Postprocessing) -> None:
        """Post-process every descriptor from now on; changes ``dim``, ``name`` and ``fingerprint``.

        Args:
            postprocessing: fitted on descriptors of this very descriptor.

        Raises:
            ValueError: if it was fitted for another descriptor, or there is one already.
        """
        if postprocessing.descriptor != self.fingerprint:
            raise ValueError(
                f"this post-processing was fitted for another descriptor than {self.name}: the weights, the "
                "input size or an earlier post-processing differ. Fit it again with this one."
            )
        self.postprocessing = postprocessing.to(self._device())
        self.dim = postprocessing.dim
        self.name = f"{self.name}+{postprocessing.name}"

    def train(self, mode: bool = True) -> Descriptor:
        """Stay in evaluation mode: batch statistics would make a descriptor depend on its neighbours."""
        return super().train(False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over preprocessing, architecture and every weight, the same in every process."""
        content = {
            "recipe": RECIPE,
            "preprocessing": self.preprocessing.as_dict(),
            "architecture": self.architecture,
            "weights": hash_tensors(self.network.state_dict()),
        }
        if self.postprocessing is not None:
            content["postprocessing"] = self.postprocessing.fingerprint
        return fingerprint(content)

    def _device(self) -> torch.device:
        weight = next(self.network.parameters(), None)
        return weight.device if weight is not None else torch.device("cpu")

    def _probe(self) -> int:
        """Dimension of the output, checked on two images of smooth colours."""
        size = self.preprocessing.size
        device = self._device()
        ramp = torch.linspace(0, 1, size, device=device).expand(3, size, size)
        inputs = self.preprocessing(torch.stack([ramp, ramp.transpose(1, 2) ** 2]))
        try:
            with torch.no_grad():
                raw = self.network(inputs)
        except _REFUSALS as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            raise ValueError(
                f"descriptor {self.name} rejects a batch of {size}x{size} RGB images ({reason}); "
                "pass the size it was made for with --resize_size."
            ) from error
        shape = tuple(raw.shape) if isinstance(raw, torch.Tensor) else type(raw).__name__
        if not isinstance(raw, torch.Tensor) or raw.ndim != 2 or raw.shape[0] != 2 or not raw.shape[1]:
            raise ValueError(
                f"descriptor {self.name} gives {shape} for 2 images, expected a tensor (2, D); "
                "use a model that ends in one vector per image."
            )
        if not raw.is_floating_point() or not bool(torch.isfinite(raw).all()):
            raise ValueError(
                f"descriptor {self.name} gives {raw.dtype} values that are not all finite numbers; "
                "its weights are damaged or were not loaded."
            )
        return raw.shape[1]
