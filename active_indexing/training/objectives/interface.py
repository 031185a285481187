"""What a training asks of an objective: the loss of a step, and what it keeps from step to step.

An objective's settings are a small frozen dataclass, :class:`ObjectiveSettings`; a recipe names one. The
trainer knows neither pairs nor mixing, teachers or queues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from active_indexing.descriptors.preprocessing import grey_pixels
from active_indexing.training.objectives.contrastive import Views

# From (B, 3, S, S) pixels in [0, 1] to (B, D) float32 features of a frozen network, without gradients.
Teacher = Callable[[torch.Tensor], torch.Tensor]
Scalars = dict[str, float]


class SideImages(NamedTuple):
    """Images beside the views of a step, which nobody edits.

    Attributes:
        support: (n, 3, S, S) float32 in [0, 1], of images that match nothing; only for objectives with
            ``wants_support``.
        pairs: (2 p, 3, S, S), two images that match after one another; only for objectives with
            ``wants_pairs``.
        pair_numbers: (2 p,) int64, which pair each belongs to.
    """

    support: torch.Tensor | None = None
    pairs: torch.Tensor | None = None
    pair_numbers: torch.Tensor | None = None


class StepViews(NamedTuple):
    """Views of one step in this process.

    Attributes:
        pixels: (N, 3, S, S) float32 in [0, 1], on the device.
        views: what they show; all reference views of a source come before its edited views.
        step: from 0.
        generator: CPU generator of every further draw of this step.
        coordinates: (N, 2, S, S) float32, where in the stored image each pixel comes from, x and y in
            [-1, 1], NaN where it shows something else; only for objectives with ``traces``.
        side: images beside the views.
    """

    pixels: torch.Tensor
    views: Views
    step: int
    generator: torch.Generator
    coordinates: torch.Tensor | None = None
    side: SideImages = SideImages()


@dataclass(frozen=True)
class Student:
    """A network in training, with its normalisation and arithmetic.

    Attributes:
        network: from normalised (N, 3, S, S) to raw (N, D).
        mean, std: of all three channels, in [0, 1] units.
        half_precision: multiply in bfloat16 where torch's autocast does.
        grey: it sees grey images.
    """

    network: nn.Module
    mean: float
    std: float
    half_precision: bool
    grey: bool = False

    def seen(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) pixels as they are, or grey in all three channels."""
        return grey_pixels(pixels) if self.grey else pixels

    def inputs(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) pixels in [0, 1] to normalised channels-last inputs."""
        normalised = (self.seen(pixels) - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)

    def describe(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N, D) float32 unit-norm descriptors of normalised inputs, with gradients."""
        return self.call(self.network, inputs)[0]

    def call(self, function: Callable[[torch.Tensor], object], inputs: torch.Tensor) -> list[torch.Tensor]:
        """Each output of a function of inputs, in the arithmetic of the training, as unit float32 rows."""
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.half_precision):
            outputs = function(inputs)
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        return [F.normalize(output.float(), dim=1) for output in several]

    def with_network(self, network: nn.Module) -> Student:
        """The same settings around another network."""
        return replace(self, network=network)


class Objective(nn.Module):
    """The loss of a training. Buffers and submodules are its memory, and are part of a checkpoint.

    A teacher is no submodule: it never changes, so that checkpoints need not hold it.

    Attributes:
        traces: whether the coordinates of all pixels are to be traced through the edits.
        wants_support: whether it needs images that match nothing, see :class:`SideImages`.
        wants_pairs: whether it needs pairs that are known to match.
    """

    traces: bool = False
    wants_support: bool = False
    wants_pairs: bool = False

    def loss(self, student: Student, batch: StepViews) -> tuple[torch.Tensor, Scalars]:
        """The loss of one step, with gradients to the student's network, and what to log of it.

        Args:
            student: its network is in training mode.
            batch: views of this process; other processes are asked with ``collectives``.

        Returns:
            Scalar loss, scalars by name.
        """
        raise TypeError(f"{type(self).__name__} has no loss.")

    def fill(self, rows: torch.Tensor) -> None:
        """Take a teacher's rows of all originals, (images, D) unit norm; only where settings want them."""
        raise TypeError(f"{type(self).__name__} keeps no rows of a teacher.")

    def updated(self, network: nn.Module) -> None:
        """Called after every update of the student's weights."""


class ObjectiveSettings(Protocol):
    """Frozen dataclass of an objective: what it is called with, and how it is made.

    Attributes:
        wants_rows: whether it learns from a teacher's rows of all originals, made once before the training,
            in place of the teacher itself.
    """

    @property
    def wants_rows(self) -> bool:
        """See above."""

    def build_network(self, backbone: str, dim: int, gem_p: float) -> nn.Module:
        """The student, with all the heads that are trained."""

    def deployed(self, network: nn.Module) -> nn.Module:
        """The part of a trained student that the descriptor file holds."""

    def build(self, network: nn.Module, dim: int, teacher: Teacher | None) -> Objective:
        """The objective at step 0.

        Raises:
            ValueError: if it needs a teacher and there is none, or the other way round.
        """
