"""Several entries per image: besides what the method wants remembered, descriptors of edits of the image.

A copy that was turned or recoloured too much for one code is near the code of the image turned or recoloured
in such a way. The edits are fixed, so the entries of an image depend on nothing but the image; they are made
of a small working image, so their cost does not depend on the photo's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from active_indexing.activation.interface import ActivationContext
from active_indexing.activation.transformations import Transformations, transformed, turn_matrix
from active_indexing.activation.working_image import working_image
from active_indexing.descriptors.batching import describe_blocks
from active_indexing.descriptors.network_input import shrunk


@dataclass(frozen=True)
class EntryEdit:
    """One fixed edit of an image; the defaults change nothing.

    Attributes:
        name: for people, unique.
        turn: degrees counter-clockwise, the canvas as large as the turned image.
        edge: share of each edge that is kept, about the centre; above 1 a canvas surrounds the image.
        above: height of the canvas added above, as a share of the image's.
        below: height of the canvas added below.
        canvas: its grey level in [0, 1].
        mirror: swap left and right.
        brightness: factor.
        contrast: factor about the mean luminance.
        hue: turns, a rotation in the plane of I and Q.
    """

    name: str
    turn: float = 0.0
    edge: float = 1.0
    above: float = 0.0
    below: float = 0.0
    canvas: float = 1.0
    mirror: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    hue: float = 0.0


ENTRY_EDITS = (
    EntryEdit("brighter", brightness=1.7),
    EntryEdit("hue -0.25", hue=-0.25),
    EntryEdit("turned 30", turn=30, canvas=0),
    EntryEdit("less contrast", contrast=0.4),
    EntryEdit("more contrast", contrast=1.7),
    EntryEdit("turned 90", turn=90),
    EntryEdit("darker", brightness=0.6),
    EntryEdit("on a large canvas", edge=2.0),
    EntryEdit("cropped to 0.6", edge=0.6),
    EntryEdit("much brighter", brightness=2.5),
    EntryEdit("turned -30", turn=-30, canvas=0),
    EntryEdit("much more contrast", contrast=3.0),
    EntryEdit("hue 0.25", hue=0.25),
    EntryEdit("on a canvas", edge=1.4),
    EntryEdit("cropped and brighter", edge=0.7, brightness=1.6),
)
"""K entries take the first K - 1. In the order in which scripts/select_entries.py chose them from 34 on
photos 200-299 with the default descriptor: each adds the most recall to those before it."""


def described_edits(view: np.ndarray, edits: Sequence[EntryEdit], context: ActivationContext) -> np.ndarray:
    """Descriptors of edits of one image, each the same whichever others are asked for.

    Args:
        view: (H, W, 3) uint8 sRGB, as the descriptor sees it.
        edits: n of them.
        context: the descriptor.

    Returns:
        (n, D) float32, unit norm.
    """
    if not edits:
        return np.empty((0, context.descriptor.dim), np.float32)
    own, working = context.descriptor.preprocessing, working_image(context)
    pixels = shrunk(view, working)[None]  # on the CPU: the same entries wherever the network runs
    aspect, size = view.shape[0] / view.shape[1], own.output_size(*pixels.shape[2:])
    edited = transformed(pixels, parameters(edits, aspect), size)
    return describe_blocks(list(own(edited).numpy()), context.descriptor)


def parameters(edits: Sequence[EntryEdit], aspect: float) -> Transformations:
    """Transformations as tensors, for an image of ``aspect`` = height / width."""

    def each(name: str) -> Tensor:
        return torch.tensor([float(getattr(edit, name)) for edit in edits])

    turn, above, below = each("turn"), each("above"), each("below")
    matrix = turn_matrix(turn, aspect, torch.ones(len(edits), dtype=torch.bool)) * each("edge")[:, None, None]
    matrix[:, 0] *= 1 - 2 * each("mirror")[:, None]
    matrix[:, 1] *= (1 + above + below)[:, None]
    matrix[:, 1, 2] = below - above
    return Transformations(
        matrix=matrix,
        canvas=each("canvas"),
        brightness=each("brightness"),
        contrast=each("contrast"),
        hue=each("hue"),
        blur=torch.zeros(len(edits)),
    )
