"""From an input file to a released file, and what was measured on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from active_indexing import encodings, images, quality
from active_indexing.activation import Step, activation_method
from active_indexing.artefacts import write_bytes
from active_indexing.concurrency import Budget
from active_indexing.config import RunConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.indexing import VectorIndex
from active_indexing.records import ManifestRow, SourceImage
from active_indexing.seeding import torch_generator_for
from active_indexing.targets import target_rule

PIXELS_AT_ONCE = 32_000_000
"""Pixels of all images that are optimised at the same time, a few GB; a larger image is done alone."""


@dataclass(frozen=True, eq=False)
class Released:
    """What became of one input.

    Attributes:
        row: its line of the manifest.
        descriptor: (D,) float32 of the input, which the index will hold; ``None`` when it was skipped.
    """

    row: ManifestRow
    descriptor: np.ndarray | None


class _Diverged(ArithmeticError):
    """The perturbation of an image is no number any more."""


class Releaser:
    """Releases images one by one, so that a result never depends on the other images; safe in threads.

    Args:
        config: the run.
        descriptor: describes images.
        index: trained; it is asked for targets and cells, never changed.
        folder: where released files go.
        on_step: called with (image id, step) of every optimisation step, when given.
    """

    def __init__(
        self,
        config: RunConfig,
        descriptor: Descriptor,
        index: VectorIndex,
        folder: Path,
        on_step: Callable[[int, Step], None] | None = None,
    ) -> None:
        self._config = config
        self._descriptor = descriptor
        self._index = index
        self._folder = folder
        self._on_step = on_step
        self._budget = Budget(PIXELS_AT_ONCE)
        self._device = next((p.device for p in descriptor.parameters()), torch.device("cpu"))

    def release(self, source: SourceImage, names: Sequence[str]) -> Released:
        """Decode, activate (in the active arm), write, read back and measure one image.

        Args:
            source: which image.
            names: reserved for the released file below the folder, as ``encodings.plan`` takes them.

        Returns:
            Its manifest row, ``skipped`` with a reason when anything about the image made it impossible.
        """
        try:
            picture = images.read(source.path)
            with self._budget.take(picture.native.shape[0] * picture.native.shape[1]):
                return self._release(source, picture, names)
        except (images.UnreadableImage, _Diverged) as error:
            reason = str(error)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            reason = "not enough memory for an image of this size"
        return Released(ManifestRow(source.id, str(source.path), reason=reason), None)

    def _release(self, source: SourceImage, picture: images.Picture, names: Sequence[str]) -> Released:
        pixels = images.to_tensor(picture.view).to(self._device)
        original = self._describe(pixels)
        native = picture.native
        if self._config.active:
            native = self._activated(source, picture, pixels, original)
        keep = self._config.save_format == "same"
        plan = encodings.plan(picture, names, self._config.save_quality, keep_lossless=keep)
        path = self._folder / plan.name
        write_bytes(path, encodings.encode(native, picture.alpha, plan.metadata, plan.encoding))
        shipped = images.read(path)
        before, after = self._cell(original), self._cell(self._describe(images.to_tensor(shipped.view)))
        height, width = picture.native.shape[:2]
        row = ManifestRow(
            id=source.id,
            source=str(source.path),
            released=f"{self._folder.name}/{plan.name}",
            status="released",
            reason="; ".join((*picture.notes, *plan.notes)),
            width=width,
            height=height,
            psnr=quality.psnr(picture.native, shipped.native),
            ssim=quality.ssim(picture.native, shipped.native),
            linf=quality.linf(picture.native, shipped.native),
            cell_before=before,
            cell_after=after,
        )
        return Released(row, original)

    def _activated(
        self, source: SourceImage, picture: images.Picture, pixels: Tensor, original: np.ndarray
    ) -> np.ndarray:
        config = self._config
        target = target_rule(config.activation.target)(self._index, original[None])[0]
        opacity = None if picture.alpha is None else _plane(picture.alpha).to(self._device)
        on_step = None if self._on_step is None else _for_image(self._on_step, source.id)
        try:
            shift = activation_method(config.activation.method)(
                pixels,
                torch.from_numpy(target).to(self._device),
                self._descriptor,
                config.activation,
                torch_generator_for(config.seed, source.id, "delta"),
                opacity=opacity,
                on_step=on_step,
            )
        except ValueError as error:  # settings were checked before: it is this image
            raise _Diverged(str(error)) from error
        if not torch.isfinite(shift).all():
            raise _Diverged("the optimisation diverged; lower lr in --optimizer, or --scaling")
        if opacity is not None:
            shift = shift * (opacity > 0)  # hidden colours stay as they are
        # The perturbation is made for the sRGB view and added to the file's own colours.
        base = pixels if picture.native is picture.view else images.to_tensor(picture.native).to(self._device)
        return images.to_uint8(base + shift)

    @torch.no_grad()
    def _describe(self, pixels: Tensor) -> np.ndarray:
        return self._descriptor(pixels.to(self._device)[None])[0].cpu().numpy()

    def _cell(self, descriptor: np.ndarray) -> int | None:
        cells = self._index.cells(descriptor[None])
        return None if cells is None else int(cells[0])


def _plane(alpha: np.ndarray) -> Tensor:
    return torch.from_numpy(alpha.astype(np.float32) / 255.0)[None]


def _for_image(on_step: Callable[[int, Step], None], image_id: int) -> Callable[[Step], None]:
    return lambda step: on_step(image_id, step)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
