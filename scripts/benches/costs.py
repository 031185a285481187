"""What the methods of ``bench_activation.py`` cost: seconds of each stage, passes of the network, memory.

Images are released one after the other on one thread, and for each the same work is then done bare:

- decode: reading the source, and reading the released file back;
- encode: one encoding of the released pixels, and writing it;
- passes: every call of the network in that release, recorded with its batch shape and with or without
  gradients, again on the network alone with random pixels (forward and backward, or forward only);
- rest: the seconds of the release without these three: masks, scaling, optimiser, edits, the trials that
  meet the PSNR (in JPEG and WebP each trial encodes and decodes), PSNR, SSIM.

``ratio`` is (passes + rest) / passes. ``passes`` as a number counts an image that goes forward and backward
as 1, and one that only goes forward as what that costs beside it, measured on this network and machine
(weights are frozen, so backward computes only the pixels' gradients). It includes the two descriptions of
every release, of the original and of the released file. ``peak_mib`` is the most memory that releasing the
images with all workers took over the resting process, exact, from the kernel (Linux only, else empty).
"""

from __future__ import annotations

import ctypes
import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from active_indexing.artefacts.atomic import write_bytes
from active_indexing.config import RunConfig
from active_indexing.descriptors.batching import device_of
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.images import decoding, encoding
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.threads import map_as_done, one_core_per_operation
from active_indexing.records import SourceImage
from active_indexing.release.folder import IMAGES
from active_indexing.release.image import ImageReleaser
from active_indexing.release.names import released_names

SHARE_BATCH = 4  # images in a pass when forward alone is compared with forward and backward
SHARE_ROUNDS = 8


@dataclass(frozen=True)
class Pass:
    """One call of the network: shape of its input, and whether gradients were asked for."""

    shape: tuple[int, ...]
    backward: bool


@dataclass(frozen=True)
class Cost:
    """Of one method, per image; seconds, images through the network, and MiB over the resting process."""

    images: int
    megapixels: float
    decode: float
    passes: float
    rest: float
    encode: float
    both_ways: float
    forward: float
    peak_mib: float | None

    @property
    def ratio(self) -> float:
        """Seconds without decoding and encoding, beside those of the bare passes."""
        return (self.passes + self.rest) / self.passes if self.passes else float("nan")

    def count(self, share: float) -> float:
        """Passes, one that only goes forward counted as ``share``."""
        return self.both_ways + share * self.forward

    def stored(self) -> dict[str, Any]:
        """As JSON values; ``Cost(**stored)`` gives it back."""
        return asdict(self)


def measure(
    config: RunConfig,
    sources: Sequence[SourceImage],
    descriptor: Descriptor,
    index: VectorIndex,
    workers: int,
) -> Cost:
    """Release images on one thread, and do their parts bare.

    Args:
        config: of the run that releases them; nothing is written to its ``output_dir``.
        sources: the images; they are released once before, uncounted, when memory is measured.
        descriptor: of everything.
        index: asked, never changed.
        workers: images at the same time when memory is measured.

    Raises:
        ValueError: no image could be released.
    """
    names = released_names(sources, {}, config.save_format)
    with tempfile.TemporaryDirectory() as temporary, one_core_per_operation():
        folder = Path(temporary) / IMAGES
        releaser = ImageReleaser(config.release, config.activation, descriptor, index, folder)

        def release(source: SourceImage) -> Path | None:
            row = releaser.release(source, names[source.id]).row
            return folder.parent / row.released if row.released else None

        with peak_over_rest() as peak:
            list(map_as_done(release, sources, max(1, workers)))
        parts = [_parts(config, source, release, descriptor) for source in sources]
    measured = np.array([part for part in parts if part is not None])
    if not len(measured):
        raise ValueError(f"none of {len(sources)} images could be released; see the manifest of a run.")
    total, decode, encode, passes, both_ways, forward, pixels = measured.mean(axis=0)
    rest = total - decode - encode - passes
    peak_mib = peak[0] if peak else None
    return Cost(len(measured), pixels / 1e6, decode, passes, rest, encode, both_ways, forward, peak_mib)


def _parts(
    config: RunConfig,
    source: SourceImage,
    release: Callable[[SourceImage], Path | None],
    descriptor: Descriptor,
) -> tuple[float, ...] | None:
    """Seconds of the release, of its parts, images both ways and forward, pixels."""
    with recorded(descriptor) as passes:
        started = time.perf_counter()
        path = release(source)
        total = time.perf_counter() - started
    if path is None:
        return None
    started = time.perf_counter()
    picture, shipped = decoding.read(source.path), decoding.read(path)
    decode = time.perf_counter() - started
    keep = config.save_format == "same"
    plan = encoding.plan(picture, [path.name], config.save_quality, keep_lossless=keep)
    started = time.perf_counter()
    content = encoding.encode(shipped.native, picture.alpha, plan.metadata, plan.encoding)
    write_bytes(path, content)
    encode = time.perf_counter() - started
    bare = seconds_of(passes, descriptor)
    both_ways = sum(each.shape[0] for each in passes if each.backward)
    forward = sum(each.shape[0] for each in passes if not each.backward)
    height, width = picture.native.shape[:2]
    return total, decode, encode, bare, both_ways, forward, height * width


@contextmanager
def recorded(descriptor: Descriptor) -> Iterator[list[Pass]]:
    """A list to which every call of the descriptor's network is added inside the block."""
    passes: list[Pass] = []

    def note(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        backward = torch.is_grad_enabled() and inputs[0].requires_grad
        passes.append(Pass(tuple(inputs[0].shape), backward))

    handle = descriptor.network.register_forward_pre_hook(note)
    try:
        yield passes
    finally:
        handle.remove()


def seconds_of(passes: Sequence[Pass], descriptor: Descriptor) -> float:
    """Seconds of the same calls on the network alone."""
    device = device_of(descriptor)
    pixels = {each.shape: torch.randn(each.shape, device=device) for each in passes}
    _finish(device)
    started = time.perf_counter()
    for each in passes:
        if each.backward:
            inputs = pixels[each.shape].detach().requires_grad_(True)
            torch.autograd.grad(descriptor.network(inputs).sum(), inputs)
        else:
            with torch.no_grad():
                descriptor.network(pixels[each.shape])
    _finish(device)
    return time.perf_counter() - started


def forward_share(descriptor: Descriptor) -> float:
    """Seconds of a forward pass beside those of one forward and backward; median of a few rounds."""
    shape = (SHARE_BATCH, 3, *descriptor.preprocessing.output_size(500, 500))
    shares = []
    with one_core_per_operation():
        for turn in range(SHARE_ROUNDS + 1):
            both = seconds_of([Pass(shape, True)], descriptor)
            forward = seconds_of([Pass(shape, False)], descriptor)
            if turn:  # the first is not counted
                shares.append(forward / both)
    return float(np.median(shares))


@contextmanager
def peak_over_rest() -> Iterator[list[float]]:
    """A list that holds, after the block, the most memory in it over that before it, in MiB.

    Empty where the kernel does not tell (VmHWM of /proc/self/status, set back through clear_refs).
    """
    peak: list[float] = []
    gc.collect()
    _return_free_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
    except OSError:
        yield peak
        return
    yield peak
    peak.append(max(0.0, _status("VmHWM") - before))


def _return_free_memory() -> None:
    """Ask the allocator to give back what it keeps of earlier work, or the next block would not count it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
