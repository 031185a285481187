"""From an input file to a released file, and what was measured on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from active_indexing.activation.entries import ENTRY_EDITS, described_edits
from active_indexing.activation.interface import Movement, Scene, Step, Task
from active_indexing.activation.methods.registry import activation_method
from active_indexing.activation.perturbation.scaling import MISS, VisibleChange, at_psnr, changed
from active_indexing.artefacts.atomic import write_bytes
from active_indexing.config import RunConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.network_input import shrunk
from active_indexing.images import decoding, encoding
from active_indexing.images.picture import Picture
from active_indexing.index.vector_index import VectorIndex
from active_indexing.metrics import image_quality
from active_indexing.parallel.threads import Budget, Together
from active_indexing.records import ManifestRow, SourceImage

PIXELS_AT_ONCE = 32_000_000
"""Pixels of all images that are optimised at the same time, a few GB; a larger image is done alone."""


@dataclass(frozen=True, eq=False)
class Released:
    """What became of one input.

    Attributes:
        row: its line of the manifest.
        entries: (K, D) float32, which the index will hold; ``None`` when it was skipped.
    """

    row: ManifestRow
    entries: np.ndarray | None


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
        self._scene = Scene(descriptor, index, config.activation, config.seed, on_step=on_step)
        self._folder = folder
        self._budget = Budget(PIXELS_AT_ONCE)
        method = activation_method(config.activation.method)
        if self._scene.device.type == "cpu":  # every thread computes its own image
            self._move: Callable[[Task], Movement] = lambda task: method([task], self._scene)[0]
        else:
            self._move = Together[Task, Movement](lambda tasks: method(tasks, self._scene), config.batch_size)

    def release(self, source: SourceImage, names: Sequence[str]) -> Released:
        """Decode, activate (in the active arm), write, read back and measure one image.

        Args:
            source: which image.
            names: reserved for the released file below the folder, as ``encodings.plan`` takes them.

        Returns:
            Its manifest row, ``skipped`` with a reason when anything about the image made it impossible.
        """
        try:
            picture = decoding.read(source.path)
            with self._budget.take(picture.native.shape[0] * picture.native.shape[1]):
                return self._release(source, picture, names)
        except (decoding.UnreadableImage, _Diverged) as error:
            reason = str(error)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            reason = "not enough memory for an image of this size"
        return Released(ManifestRow(source.id, str(source.path), reason=reason), None)

    def _release(self, source: SourceImage, picture: Picture, names: Sequence[str]) -> Released:
        original = self._describe(picture.view)
        keep = self._config.save_format == "same"
        plan = encoding.plan(picture, names, self._config.save_quality, keep_lossless=keep)

        def encoded(pixels: np.ndarray) -> bytes:
            return encoding.encode(pixels, picture.alpha, plan.metadata, plan.encoding)

        def decoded(pixels: np.ndarray) -> np.ndarray:
            return decoding.read_bytes(encoded(pixels)).native

        finish = None if plan.encoding.is_lossless else decoded
        pixels, entry, notes = picture.native, original, [*picture.notes, *plan.notes]
        if self._config.active:
            movement = self._movement(source, picture, original)
            pixels, told = _moved(picture, movement, finish)
            entry, notes = movement.entry, [*notes, *told]
        path = self._folder / plan.name
        write_bytes(path, encoded(pixels))
        shipped = decoding.read(path)
        plain = picture.native if finish is None else finish(picture.native)
        before, after = self._cell(original), self._cell(self._describe(shipped.view))
        height, width = picture.native.shape[:2]
        row = ManifestRow(
            id=source.id,
            source=str(source.path),
            released=f"{self._folder.name}/{plan.name}",
            status="released",
            reason="; ".join(notes),
            width=width,
            height=height,
            psnr=image_quality.psnr(plain, shipped.native),
            ssim=image_quality.ssim(plain, shipped.native),
            linf=image_quality.linf(plain, shipped.native),
            cell_before=before,
            cell_after=after,
        )
        edits = described_edits(shipped.view, ENTRY_EDITS[: self._config.index.entries - 1], self._scene)
        return Released(row, np.concatenate([entry[None], edits]))

    def _movement(self, source: SourceImage, picture: Picture, original: np.ndarray) -> Movement:
        try:
            return self._move(Task(source.id, picture.view, picture.alpha, original))
        except ValueError as error:  # settings were checked before: it is this image
            raise _Diverged(str(error)) from error

    @torch.no_grad()
    def _describe(self, view: np.ndarray) -> np.ndarray:
        prepared = shrunk(view, self._scene.descriptor.preprocessing)
        return self._scene.descriptor.describe(prepared[None].to(self._scene.device))[0].cpu().numpy()

    def _cell(self, descriptor: np.ndarray) -> int | None:
        cells = self._scene.index.cells(descriptor[None])
        return None if cells is None else int(cells[0])


def _moved(
    picture: Picture, movement: Movement, finish: Callable[[np.ndarray], np.ndarray] | None
) -> tuple[np.ndarray, list[str]]:
    """Pixels to release, made for the sRGB view and added to the file's own colours, and what to tell."""
    change, native, notes = movement.change, picture.native, []
    if picture.alpha is not None:
        change = VisibleChange(change, picture.alpha)
    strength, asked = 1.0, movement.psnr
    if asked is not None:
        strength, met = at_psnr(native, change, asked, finish)
        if abs(met - asked) > MISS:
            notes.append(f"{met:.1f} dB instead of {asked:.1f}: no strength comes nearer")
    return changed(native, change, strength), [*movement.notes, *notes]


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
