"""What a run would do, how long it would take and what it would write, without a file being written."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from active_indexing.activation.methods.registry import activation_method
from active_indexing.artefacts.identity import is_unchanged
from active_indexing.artefacts.journal import newest_items
from active_indexing.attacks.jobs import AttackJob, perform
from active_indexing.attacks.registry import RANDOM_CHAIN, Attack
from active_indexing.config import RunConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.evaluation.copies import query_rows
from active_indexing.evaluation.harness import chosen_attacks
from active_indexing.extras import require
from active_indexing.images import any_image, decoding
from active_indexing.index.files import index_path
from active_indexing.index.preparation import prepare_index
from active_indexing.index.vector_index import VectorIndex
from active_indexing.parallel.resources import device_for, threads_for
from active_indexing.parallel.threads import one_core_per_operation
from active_indexing.pipeline import check_activation, sources_of
from active_indexing.records import SourceImage
from active_indexing.release.folder import IMAGES
from active_indexing.release.image import ImageReleaser
from active_indexing.release.names import released_names
from active_indexing.release.output_folder import JOURNALS

# One core, default settings, docs/measurements.md: 1.4 s at 0.15 MP and 5.4 s at 12 MP to release; 0.08 and
# 3.56 s to attack. A released PNG: 349 kB at 0.15 MP.
SMALL_SECONDS, SECONDS_PER_PIXEL = 1.4, 4.0 / 12e6
ATTACK_SECONDS, ATTACK_SECONDS_PER_PIXEL = 0.15, 0.3 / 1e6
BYTES_PER_PIXEL = 2.3
TABLE_BYTES = 80_000
"""Of the CSVs and journals, per image, 15 attacks and 100 neighbours: 74 to 86 kB in six runs."""
REPORT_BYTES = 2_000_000
"""Of report.html: 1.0 to 1.4 MB with five images, more with a full gallery."""
FAR_APART = 2
"""Ratio of the sizes of two measured images from which time is told to depend on size."""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """A forecast.

    Attributes:
        images: (input, pixels) of what would be released.
        done: how many of them the output folder holds already, unchanged.
        skipped: (path, reason), as far as headers tell.
        measured: images that were released and attacked in memory for the forecast; 0: earlier measurements
            of other images were used.
        why_not_measured: the reason, in words.
        seconds: of release and evaluation of what is not done.
        threads: images in work at the same time.
        image_bytes: of all released files.
        other_bytes: of tables, journals and report.
        free_bytes: of the disk, where the output folder is or would be.
    """

    images: list[tuple[SourceImage, int]]
    done: int
    skipped: list[tuple[Path, str]]
    measured: int
    why_not_measured: str
    seconds: float
    threads: int
    image_bytes: int
    other_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class _Sample:
    """One measured image: seconds of one core to release it and to attack it, bytes of its released file."""

    pixels: int
    released: float
    attacked: float
    size: int


def dry_run(config: RunConfig) -> DryRun:
    """Look at the inputs of a run, release and attack two of them in memory, and tell what it would take.

    Weights that ``--model_name`` names are downloaded to their cache, as a run would.

    Raises:
        ValueError: settings that don't fit together.
        FileNotFoundError: no images, or a missing file.
    """
    if config.evaluation.evaluates:
        require("augly", "attacks")
    check_activation(config)
    images, skipped = _looked_at(sources_of(config))
    todo = _not_done(config, images)
    why = _why_not(config, todo)
    samples = [] if why else _measured(config, todo)
    if not samples and not why:
        why = "none of the images that were tried can be released"
    attacks = len(_attacks(config))
    most, threads = config.evaluation.most_sampled, threads_for(config.workers)
    evaluated = len(images) if most is None else min(most, len(images))
    seconds = float(_release_seconds(_pixels(todo), samples).sum())
    if images:
        seconds += evaluated * float(_attack_seconds(_pixels(images), samples, attacks).mean())
    return DryRun(
        images=images,
        done=len(images) - len(todo),
        skipped=skipped,
        measured=len(samples),
        why_not_measured=why,
        seconds=seconds / min(threads, max(1, len(images))),
        threads=threads,
        image_bytes=int(_bytes_per_pixel(samples) * sum(pixels for _, pixels in images)),
        other_bytes=int(TABLE_BYTES * evaluated * attacks / 15 * config.evaluation.kneighbors / 100)
        + REPORT_BYTES * config.report,
        free_bytes=shutil.disk_usage(_nearest_folder(config.output_dir)).free,
    )


def _looked_at(
    sources: Sequence[SourceImage],
) -> tuple[list[tuple[SourceImage, int]], list[tuple[Path, str]]]:
    images, skipped = [], []
    for source in sources:
        try:
            width, height = decoding.size(source.path)
        except decoding.UnreadableImage as error:
            skipped.append((source.path, str(error)))
        else:
            images.append((source, width * height))
    return images, skipped


def _not_done(config: RunConfig, images: list[tuple[SourceImage, int]]) -> list[tuple[SourceImage, int]]:
    """Those that the output folder does not hold; whether its settings are these, the run will tell."""
    journal = config.output_dir / JOURNALS / "release.jsonl"
    if config.existing == "overwrite" or not journal.is_file():
        return images
    items = [item for item in newest_items(journal).values() if item.get("output") and item.get("input")]
    states = {item["row"]["source"]: item["input"] for item in items}
    return [
        (source, pixels)
        for source, pixels in images
        if str(source.path) not in states or not is_unchanged(source.path, states[str(source.path)])
    ]


def _why_not(config: RunConfig, todo: list[tuple[SourceImage, int]]) -> str:
    """Why nothing can be measured; empty when it can."""
    if not todo:
        return "nothing is left to do"
    stored = index_path(config.index.idx_dir, config.index.idx_factory, config.index.quant)
    if config.index.fts_training_path is not None and not stored.exists():
        return f"the index {stored} is not trained yet, which the run does first"
    return ""


def _measured(config: RunConfig, todo: list[tuple[SourceImage, int]]) -> list[_Sample]:
    """A small and a large image, released and attacked one after the other on one core."""
    descriptor = load_descriptor(config.descriptor, device_for(config.device))
    prepared = prepare_index(config.index, descriptor.dim, descriptor.fingerprint, seed=config.seed)
    if config.active:
        activation_method(config.activation.method).check(config.activation, prepared.index)
    folder = config.output_dir / IMAGES
    releaser = ImageReleaser(config.release, config.activation, descriptor, prepared.index, folder)
    ordered = sorted(todo, key=lambda image: (image[1], image[0].name))
    chosen = [ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]]
    with one_core_per_operation():
        _sample(config, releaser, descriptor, prepared.index, *chosen[0])  # the first one is slow
        found = [
            _sample(config, releaser, descriptor, prepared.index, *each) for each in dict.fromkeys(chosen)
        ]
    return [sample for sample in found if sample is not None]


def _sample(
    config: RunConfig,
    releaser: ImageReleaser,
    descriptor: Descriptor,
    index: VectorIndex,
    source: SourceImage,
    pixels: int,
) -> _Sample | None:
    names = released_names([source], {}, config.save_format)[source.key]
    start = time.perf_counter()
    released, content = releaser.release_bytes(source, any_image.file_of(source.path), names)
    if released.entries is None:
        return None
    middle = time.perf_counter()
    if attacks := _attacks(config):
        job = AttackJob(
            image_id=source.id,
            path=source.path,
            attacks=attacks,
            seed=config.seed,
            preprocessing=descriptor.preprocessing,
        )
        query_rows([perform(job)], [source.id], descriptor, index, config.evaluation.kneighbors)
    return _Sample(pixels, middle - start, time.perf_counter() - middle, len(content))


def _attacks(config: RunConfig) -> tuple[Attack, ...]:
    evaluation = config.evaluation
    if not evaluation.evaluates:
        return ()
    attacks = chosen_attacks(evaluation) if evaluation.eval_retrieval else ()
    return (*attacks, Attack(RANDOM_CHAIN)) if evaluation.eval_icd else attacks


def _pixels(images: list[tuple[SourceImage, int]]) -> np.ndarray:
    return np.array([pixels for _, pixels in images], dtype=float)


def _release_seconds(pixels: np.ndarray, samples: list[_Sample]) -> np.ndarray:
    if not samples:
        return SMALL_SECONDS + SECONDS_PER_PIXEL * pixels
    return _line(pixels, [(sample.pixels, sample.released) for sample in samples])


def _attack_seconds(pixels: np.ndarray, samples: list[_Sample], attacks: int) -> np.ndarray:
    if not samples:
        return attacks / 15 * (ATTACK_SECONDS + ATTACK_SECONDS_PER_PIXEL * pixels)
    return _line(pixels, [(sample.pixels, sample.attacked) for sample in samples])


def _line(pixels: np.ndarray, points: list[tuple[int, float]]) -> np.ndarray:
    """Seconds of each image: a line through two samples of different sizes, else their mean."""
    (least, quick), (most, slow) = points[0], points[-1]
    if most >= FAR_APART * least and slow > quick:
        return np.maximum(quick + (slow - quick) / (most - least) * (pixels - least), 0)
    return np.full(len(pixels), np.mean([seconds for _, seconds in points]))


def _bytes_per_pixel(samples: list[_Sample]) -> float:
    if not samples:
        return BYTES_PER_PIXEL
    return sum(sample.size for sample in samples) / sum(sample.pixels for sample in samples)


def _nearest_folder(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
