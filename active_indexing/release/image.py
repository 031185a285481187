"""From an input file to a released file, and what was measured on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from active_indexing.activation.config import ActivationConfig
from active_indexing.activation.entries import ENTRY_EDITS, described_edits
from active_indexing.activation.interface import ActivationContext, ActivationJob, ActivationResult, Step
from active_indexing.activation.methods.registry import activation_method
from active_indexing.activation.perturbation.scaling import (
    MISS,
    MaskedPerturbation,
    perturbed,
    strength_for_psnr,
)
from active_indexing.activation.perturbation.visible_strength import MOST, strength_for_quality
from active_indexing.artefacts.atomic import write_bytes
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.network_input import shrunk
from active_indexing.images import decoding, encoding
from active_indexing.images.picture import Picture
from active_indexing.images.privacy import released_metadata
from active_indexing.images.source_encoding import SourceFile
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.threads import MicroBatcher, SharedBudget
from active_indexing.records import ManifestRow, SourceImage
from active_indexing.release.config import ReleaseConfig
from active_indexing.release.damage import measured

PIXELS_AT_ONCE = 32_000_000
"""Pixels of all images that are optimised at the same time, a few GB; a larger image is done alone."""

GROWTH = 1.5
"""A losslessly compressed source whose released PNG is more times as large is told: palettes and flat areas
compress to little, and what activation adds does not. A JPEG always grows as a PNG: that is not told."""
_COMPRESSED_WITHOUT_LOSS = ("PNG", "GIF", "WEBP")


@dataclass(frozen=True, eq=False)
class Released:
    """What became of one input.

    Attributes:
        row: its line of the manifest.
        entries: (K, D) float32, which the index will hold; ``None`` when it was skipped.
    """

    row: ManifestRow
    entries: np.ndarray | None


Keep = Callable[[str, bytes], Picture]
"""Puts a released file (name, content) where it belongs, and gives back what can be read there."""


FELL_SHORT = "hard to protect: its entry was out of reach, so the index holds the released file as it is"


class _Diverged(ArithmeticError):
    """The perturbation of an image is no number any more."""


class ImageReleaser:
    """Releases images one by one, so that a result never depends on the other images; safe in threads.

    Args:
        config: format, quality, entries.
        activation: how it is moved.
        descriptor: describes images.
        index: trained; it is asked for targets and cells, never changed.
        folder: where released files go.
        on_step: called with (image id, step) of every optimisation step, when given.
    """

    def __init__(
        self,
        config: ReleaseConfig,
        activation: ActivationConfig,
        descriptor: Descriptor,
        index: VectorIndex,
        folder: Path,
        on_step: Callable[[int, Step], None] | None = None,
    ) -> None:
        self._config = config
        self._context = ActivationContext(descriptor, index, activation, config.seed, on_step=on_step)
        self._folder = folder
        self._budget = SharedBudget(PIXELS_AT_ONCE)
        move = activation_method(activation.method).move
        if self._context.device.type == "cpu":  # every thread computes its own image

            def alone(job: ActivationJob) -> ActivationResult:
                return move([job], self._context)[0]

            self._move: Callable[[ActivationJob], ActivationResult] = alone
        else:
            self._move = MicroBatcher[ActivationJob, ActivationResult](
                lambda jobs: move(jobs, self._context), config.batch_size
            )

    def release(self, source: SourceImage, names: Sequence[str], content: bytes | None = None) -> Released:
        """Decode, activate (in the active arm), write, read back and measure one image.

        Args:
            source: which image.
            names: reserved for the released file below the folder, as ``encoding.plan`` takes them.
            content: bytes of its file, when it is in memory; the path is not read then.

        Returns:
            Its manifest row, ``skipped`` with a reason when anything about the image made it impossible.
        """

        def keep(name: str, content: bytes) -> Picture:
            write_bytes(self._folder / name, content)
            return decoding.read(self._folder / name)

        def read() -> Picture:
            return decoding.read(source.path) if content is None else decoding.read_bytes(content)

        return self._released(source, read, names, keep)

    def release_bytes(
        self, source: SourceImage, content: bytes, names: Sequence[str]
    ) -> tuple[Released, bytes]:
        """The same for an image in memory; nothing is written.

        Args:
            source: id, path and name of the image; the path is not read.
            content: bytes of its file.
            names: as for :meth:`release`; the row names one of them.

        Returns:
            What became of it, and the bytes of the released file, empty when it was skipped.
        """
        released = b""

        def keep(_: str, made: bytes) -> Picture:
            nonlocal released
            released = made
            return decoding.read_bytes(made)

        return self._released(source, lambda: decoding.read_bytes(content), names, keep), released

    def _released(
        self, source: SourceImage, read: Callable[[], Picture], names: Sequence[str], keep: Keep
    ) -> Released:
        try:
            picture = read()
            with self._budget.take(picture.native.shape[0] * picture.native.shape[1]):
                return self._release(source, picture, names, keep)
        except (decoding.UnreadableImage, _Diverged) as error:
            reason = str(error)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            reason = "not enough memory for an image of this size"
        return Released(ManifestRow(source.id, str(source.path), reason=reason), None)

    def unchanged(self, source: SourceImage, name: str | None) -> np.ndarray:
        """What the index would hold of an image without activation, (K, D) float32.

        Args:
            source: which image; one that was released before.
            name: of the file to write below the folder, as it would be released without activation, or
                ``None`` where neither the file nor further entries are wanted: (1, D).

        Raises:
            UnreadableImage: it can't be read any more.
        """
        picture = decoding.read(source.path)
        with self._budget.take(picture.native.shape[0] * picture.native.shape[1]):
            original = self._describe(picture.srgb)
            if name is None:
                return original[None]
            picture = replace(picture, metadata=released_metadata(picture.metadata, self._config.metadata))
            plan = self._plan(picture, [name])
            pixels = encoding.encode(picture.native, picture.alpha, plan.metadata, plan.encoding)
            write_bytes(self._folder / plan.name, pixels)
            return self._entries(original, decoding.read(self._folder / plan.name))

    def _plan(self, picture: Picture, names: Sequence[str]) -> encoding.ReleasePlan:
        keep = self._config.save_format == "same"
        return encoding.plan(picture, names, self._config.save_quality, keep_lossless=keep)

    def _entries(self, entry: np.ndarray, shipped: Picture) -> np.ndarray:
        edits = described_edits(shipped.srgb, ENTRY_EDITS[: self._config.entries - 1], self._context)
        return np.concatenate([entry[None], edits])

    def _release(self, source: SourceImage, picture: Picture, names: Sequence[str], keep: Keep) -> Released:
        picture = replace(picture, metadata=released_metadata(picture.metadata, self._config.metadata))
        original = self._describe(picture.srgb)
        plan = self._plan(picture, names)

        def encoded(pixels: np.ndarray) -> bytes:
            return encoding.encode(pixels, picture.alpha, plan.metadata, plan.encoding)

        def decoded(pixels: np.ndarray) -> np.ndarray:
            return decoding.read_bytes(encoded(pixels)).native

        finish = None if plan.encoding.is_lossless else decoded
        pixels, entry, notes, met = picture.native, original, [*picture.notes, *plan.notes], None
        if self._config.active:
            result = self._result(source, picture, original)
            pixels, met, told = _moved(picture, result, finish)
            entry, notes = result.entry, [*notes, *told]
        content = encoded(pixels)
        notes += _growth(picture.file, len(content), plan.encoding.format)
        shipped = keep(plan.name, content)
        plain = picture.native if finish is None else finish(picture.native)
        described = self._describe(shipped.srgb)
        before, after = self._cell(original), self._cell(described)
        if self._config.active and self._cell(entry) != after:
            # Less was released than the entry was made for: one visited cell would not hold the file.
            entry, notes = described, [*notes, FELL_SHORT]
        known = met if finish is None and np.array_equal(shipped.native, pixels) else None
        height, width = picture.native.shape[:2]
        row = ManifestRow(
            id=source.id,
            source=str(source.path),
            released=f"{self._folder.name}/{plan.name}",
            status="released",
            reason="; ".join(notes),
            width=width,
            height=height,
            cell_before=before,
            cell_after=after,
            **measured(plain, shipped.native, known),
        )
        return Released(row, self._entries(entry, shipped))

    def _result(self, source: SourceImage, picture: Picture, original: np.ndarray) -> ActivationResult:
        try:
            return self._move(ActivationJob(source.id, picture.srgb, picture.alpha, original))
        except ValueError as error:  # settings were checked before: it is this image
            raise _Diverged(str(error)) from error

    @torch.no_grad()
    def _describe(self, srgb: np.ndarray) -> np.ndarray:
        prepared = shrunk(srgb, self._context.descriptor.preprocessing)
        return self._context.descriptor.describe(prepared[None].to(self._context.device))[0].cpu().numpy()

    def _cell(self, descriptor: np.ndarray) -> int | None:
        cells = self._context.index.cells(descriptor[None])
        return None if cells is None else int(cells[0])


def _moved(
    picture: Picture, result: ActivationResult, finish: Callable[[np.ndarray], np.ndarray] | None
) -> tuple[np.ndarray, float | None, list[str]]:
    """Pixels to release, made for the sRGB pixels and added to the file's own colours.

    Returns:
        The pixels, their SSIMULACRA2 where it was measured, and what to tell.
    """
    change, native, notes = result.change, picture.native, []
    if picture.alpha is not None:
        change = MaskedPerturbation(change, picture.alpha)
    strength, asked, quality = 1.0, result.psnr, None
    if result.quality is not None:
        strength, quality = strength_for_quality(
            native, change, result.quality, finish, result.strongest or MOST
        )
        if strength == 0:
            notes.append(
                f"hard to protect: not changed, no change keeps an SSIMULACRA2 of {result.quality:g}"
            )
    elif asked is not None:
        strength, met = strength_for_psnr(native, change, asked, finish)
        if abs(met - asked) > MISS:
            notes.append(f"{met:.1f} dB instead of {asked:.1f}: no strength comes nearer")
    return perturbed(native, change, strength), quality, [*result.notes, *notes]


def _growth(source: SourceFile, size: int, format: str) -> list[str]:
    """What to tell of a graphic that is much larger as it is released."""
    compressed = source.format in _COMPRESSED_WITHOUT_LOSS and (source.format != "WEBP" or source.lossless)
    if format != "png" or not compressed or size <= GROWTH * source.size:
        return []
    return [f"the file is {size / source.size:.1f} times as large ({source.size:,} to {size:,} bytes)"]


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
