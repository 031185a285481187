"""What a method of activation is given, what it gives back, and the methods by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from active_indexing.activation.config import ActivationConfig
from active_indexing.activation.objectives.cells import Cells
from active_indexing.activation.perturbation.scaling import Perturbation
from active_indexing.descriptors.batching import device_of
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.quick_passes import quick_passes
from active_indexing.index.vector_index import VectorIndex


@dataclass(frozen=True, eq=False)
class ActivationContext:
    """What all images of a run share.

    Attributes:
        descriptor: differentiable; on the device where the work is done.
        index: trained; asked, never changed.
        config: settings.
        seed: the user's ``--seed``.
        on_step: called with (image id, step) of every optimisation step, when given.
    """

    descriptor: Descriptor
    index: VectorIndex
    config: ActivationConfig
    seed: int = 0
    on_step: Callable[[int, Step], None] | None = field(default=None, kw_only=True)

    @cached_property
    def cells(self) -> Cells | None:
        """Of the index, on the device; ``None`` where it has none."""
        return Cells.of(self.index, self.device)

    @cached_property
    def quick(self) -> Callable[[Tensor], Tensor]:
        """The descriptor for passes whose last digits do not matter, see ``quick_passes``."""
        return quick_passes(self.descriptor)

    @property
    def device(self) -> torch.device:
        """Where the descriptor is."""
        return device_of(self.descriptor)


@dataclass(frozen=True, eq=False)
class ActivationJob:
    """One image to move.

    Attributes:
        image_id: keys its random draws.
        srgb: (H, W, 3) uint8 sRGB, as the descriptor sees it.
        alpha: (H, W) uint8 opacity, or ``None``.
        original: (D,) float32 descriptor of ``srgb``.
    """

    image_id: int
    srgb: np.ndarray
    alpha: np.ndarray | None
    original: np.ndarray


@dataclass(frozen=True, eq=False)
class ActivationResult:
    """How one image is moved.

    Attributes:
        change: of its pixels.
        entry: (D,) float32 that the index should hold for it.
        psnr: decibels that the released image should keep.
        notes: for people, e.g. why the image is hard to protect.
        quality: the least SSIMULACRA2 of the released image, in place of ``psnr``. With neither, the change
            is taken as it is.
        strongest: with ``quality``: the largest strength of the change, whatever the quality.
    """

    change: Perturbation
    entry: np.ndarray
    psnr: float | None = None
    notes: tuple[str, ...] = ()
    quality: float | None = None
    strongest: float | None = None


Move = Callable[[Sequence[ActivationJob], ActivationContext], list[ActivationResult]]
"""Moves several images; what becomes of one does not depend on the others."""


def _accept_all(config: ActivationConfig, index: VectorIndex | None) -> None:
    """Nothing to check."""


@dataclass(frozen=True)
class Method:
    """A method of activation: all that the rest of the program knows about it.

    Attributes:
        move: does the work.
        steps: optimisation steps unless ``--iterations`` says otherwise.
        settings: fields of ``ActivationConfig`` that mean something to it, besides those that mean something
            to every method (``method``, ``psnr``, ``strength``, ``iterations``).
        depends_on_references: whether released files depend on the references that the index holds.
        check: raises ValueError for settings that it can't do, or that the index can't serve; called with
            ``None`` before there is an index.
    """

    move: Move
    steps: int = 1
    settings: frozenset[str] = frozenset()
    depends_on_references: bool = False
    check: Callable[[ActivationConfig, VectorIndex | None], None] = _accept_all

    def ignored(self, config: ActivationConfig) -> list[str]:
        """Names of settings that were changed and mean nothing to this method."""
        known = self.settings | {"method", "psnr", "strength", "iterations"}
        return [
            each.name
            for each in fields(config)
            if each.name not in known and getattr(config, each.name) != each.default
        ]


def opacity(alpha: np.ndarray) -> Tensor:
    """(H, W) uint8 to (1, H, W) float32 in [0, 1]."""
    return torch.from_numpy(alpha.astype(np.float32) / 255.0)[None]


def step_logger(context: ActivationContext, job: ActivationJob) -> Callable[[Step], None] | None:
    """The context's ``on_step`` for one image."""
    on_step, image_id = context.on_step, job.image_id
    return None if on_step is None else lambda step: on_step(image_id, step)


@dataclass(frozen=True)
class Step:
    """What one optimisation step saw, before its update; the published log's names."""

    gd_it: int
    loss: float
    loss_f: float
    loss_i: float
    psnr: float
    linf: float
    lr: float
