"""One arm of a run, from a folder of images to released files and CSVs."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from active_indexing import artefacts, results, versions
from active_indexing.activation import activation_method
from active_indexing.attacks.pool import AttackPool
from active_indexing.attacks.registry import RANDOM_CHAIN, Attack, attacks_2, default_attacks
from active_indexing.concurrency import one_core_per_operation
from active_indexing.config import RunConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.evaluation import Evaluation, Failure, QueryImage
from active_indexing.folder_release import IMAGES, FolderRelease, StepLog
from active_indexing.index_store import PreparedIndex, prepare
from active_indexing.journal import Journal, OtherRunError
from active_indexing.optimisers import check_specs
from active_indexing.records import NO_MATCH, ManifestRow, SourceImage, inventory
from active_indexing.release import Releaser
from active_indexing.summary import CopyDetectionSummary, RetrievalSummary, failure_counts, quality_table
from active_indexing.targets import check_target

JOURNALS = ".journal"
DEBUG_BATCHES = 6  # published active_indexing: --debug stops after six batches


@dataclass(frozen=True)
class RunSummary:
    """What a run did; the content of ``run.json``.

    Attributes:
        output_dir: where everything is.
        content: config, versions, fingerprints, counts, figures and timings.
    """

    output_dir: Path
    content: dict[str, Any]


def run(config: RunConfig) -> RunSummary:
    """Release a folder of images in one arm and evaluate the released files.

    Running it again with the same settings goes on where it stopped, and does nothing twice.

    Raises:
        ValueError: settings that don't fit together, or an output folder of other settings.
        FileNotFoundError: no images, or a missing file.
    """
    clock = _Clock()
    sources = _sources(config)
    non_matching = _non_matching(config)
    attacks = _attacks(config)
    _check_activation(config)
    descriptor = load_descriptor(config.descriptor, _device(config))
    prepared = prepare(
        config.index, descriptor.dim, descriptor.fingerprint, seed=config.seed, progress=config.verbose > 0
    )
    if config.active:
        check_target(config.activation.target, prepared.index)
    clock.lap("prepare")
    with _open_journal(config, descriptor, prepared) as journal, one_core_per_operation():
        release = FolderRelease(journal, config.output_dir, sources)
        _release(config, release, descriptor, prepared)
        clock.lap("release")
        _add_protected(release, prepared)
        evaluated = _evaluate(config, release, non_matching, attacks, descriptor, prepared)
        clock.lap("evaluate")
        _remove_images(config, release)
    return _write_run(config, descriptor, prepared, evaluated, clock.laps)


def _release(
    config: RunConfig, release: FolderRelease, descriptor: Descriptor, prepared: PreparedIndex
) -> None:
    log = StepLog(config.output_dir / "activation_log.jsonl", config.log_freq) if config.log_freq else None
    releaser = Releaser(config, descriptor, prepared.index, config.output_dir / IMAGES, log)
    release.run(releaser, threads=_threads(config), progress=config.verbose > 0)
    rows = (results.manifest_row(released.row) for _, released in release.items())
    results.write_csv(config.output_dir / "manifest.csv", ManifestRow.columns(), rows)


def _add_protected(release: FolderRelease, prepared: PreparedIndex) -> None:
    """Add the descriptors of the inputs, not of the released files, as the published program does."""
    for source, released in release.items():
        if released.descriptor is not None:
            prepared.index.add(released.descriptor[None], np.array([source.id]))


def _evaluate(
    config: RunConfig,
    release: FolderRelease,
    non_matching: list[QueryImage],
    attacks: tuple[Attack, ...],
    descriptor: Descriptor,
    prepared: PreparedIndex,
) -> dict[str, Any]:
    protected = [QueryImage(id_, path, id_) for id_, path in release.shipped()]
    content: dict[str, Any] = {"quality": quality_table(released.row for _, released in release.items())}
    failures: list[Failure] = []
    if protected and (config.evaluation.eval_retrieval or config.evaluation.eval_icd):
        with AttackPool(_workers(config)) as pool:
            stages = _Stages(config, release, descriptor, prepared, pool)
            if config.evaluation.eval_retrieval:
                content["retrieval"] = stages.retrieval(protected, attacks, failures)
            if config.evaluation.eval_icd:
                content["copy_detection"] = stages.copy_detection([*protected, *non_matching], failures)
        _write_names(config, prepared, stages.retrieved)
    rows = ((f.stage, f.image_index, f.attack, f.attack_param, f.reason) for f in failures)
    results.write_csv(config.output_dir / "failures.csv", results.FAILURE_COLUMNS, rows)
    content["failed_attacks"] = failure_counts(failures)
    return content


class _Stages:
    """The two evaluations, on one index, one descriptor and one pool."""

    def __init__(
        self,
        config: RunConfig,
        release: FolderRelease,
        descriptor: Descriptor,
        prepared: PreparedIndex,
        pool: AttackPool,
    ) -> None:
        self._config = config
        self._descriptor = descriptor
        self._index = prepared.index
        self._pool = pool
        self._settings = {
            "seed": config.seed,
            "kneighbors": config.evaluation.kneighbors,
            "nprobe": config.index.nprobe,
            "index": prepared.inputs,
            "descriptor": descriptor.fingerprint,
            "released": artefacts.fingerprint(release.state()),
        }
        self.retrieved: set[int] = set()

    def retrieval(
        self, queries: list[QueryImage], attacks: tuple[Attack, ...], failures: list[Failure]
    ) -> list[dict[str, Any]]:
        """Every attack on every released image: ``retr_df.csv``."""
        done = self._run("retrieval", queries, attacks)
        summary = RetrievalSummary()
        rows = summary.watch(done.blocks(queries, self._config.evaluation.batch_size_eval))
        cells = (results.retrieval_row(block, row) for block, row in rows)
        results.write_csv(self._config.output_dir / "retr_df.csv", results.RETRIEVAL_COLUMNS, cells)
        self._finish(done, queries, failures, summary.retrieved)
        return summary.table()

    def copy_detection(self, queries: list[QueryImage], failures: list[Failure]) -> dict[str, Any]:
        """One random chain on every released and every non-matching image: ``icd_df.csv``."""
        done = self._run("copy_detection", queries, (Attack(RANDOM_CHAIN),))
        summary = CopyDetectionSummary(larger_is_better=self._config.index.quant == "IP")
        rows = summary.watch(done.blocks(queries, self._config.evaluation.batch_size_eval))
        cells = (results.copy_detection_row(block, row) for block, row in rows)
        results.write_csv(self._config.output_dir / "icd_df.csv", results.COPY_DETECTION_COLUMNS, cells)
        self._finish(done, queries, failures, summary.retrieved)
        return summary.table()

    def _run(self, stage: str, queries: list[QueryImage], attacks: tuple[Attack, ...]) -> Evaluation:
        settings = {**self._settings, "attacks": [repr(attack) for attack in attacks]}
        evaluation = Evaluation(stage, self._config.output_dir / JOURNALS, settings)
        evaluation.run(
            queries,
            attacks,
            self._descriptor,
            self._index,
            self._pool,
            k=self._config.evaluation.kneighbors,
            seed=self._config.seed,
            threads=_threads(self._config),
            progress=self._config.verbose > 0,
        )
        return evaluation

    def _finish(
        self, done: Evaluation, queries: list[QueryImage], failures: list[Failure], retrieved: set[int]
    ) -> None:
        failures += done.failures(queries)
        self.retrieved |= retrieved
        done.close()


def _write_names(config: RunConfig, prepared: PreparedIndex, retrieved: set[int]) -> None:
    """``references.csv``: the names of the references that were retrieved."""
    if prepared.names is None:
        return
    with open(prepared.names, encoding="utf-8", errors="surrogateescape") as lines:
        numbered = enumerate(lines, start=prepared.first_reference)
        rows = ((id_, line.rstrip("\n")) for id_, line in numbered if id_ in retrieved)
        results.write_csv(config.output_dir / "references.csv", ("id", "name"), rows)


def _write_run(
    config: RunConfig,
    descriptor: Descriptor,
    prepared: PreparedIndex,
    evaluated: dict[str, Any],
    seconds: dict[str, float],
) -> RunSummary:
    content = {
        "config": asdict(config),
        "versions": versions.versions(),
        "descriptor": {
            "name": descriptor.name,
            "dim": descriptor.dim,
            "fingerprint": descriptor.fingerprint,
        },
        "index": {**prepared.inputs, "path": prepared.path, "entries": prepared.index.ntotal},
        **evaluated,
        "seconds": seconds,
    }
    artefacts.write_json(config.output_dir / "run.json", content)
    return RunSummary(config.output_dir, content)


def _open_journal(config: RunConfig, descriptor: Descriptor, prepared: PreparedIndex) -> Journal:
    header = {
        "active": config.active,
        "seed": config.seed,
        "activation": asdict(config.activation) if config.active else None,
        "descriptor": descriptor.fingerprint,
        "index": {key: value for key, value in prepared.inputs.items() if key != "references"},
    }
    path = config.output_dir / JOURNALS / "release.jsonl"
    try:
        return Journal(path, header, fresh=config.existing == "overwrite")
    except OtherRunError as error:
        raise OtherRunError(
            f"{config.output_dir} holds a run with other settings: {error}. Choose another --output_dir, "
            "or --existing overwrite to replace it."
        ) from error


def _sources(config: RunConfig) -> list[SourceImage]:
    released = config.output_dir.resolve() / IMAGES
    if config.data_dir.resolve().is_relative_to(released):
        raise ValueError(
            f"--data_dir {config.data_dir} lies in the folder of released images {released}: inputs are "
            "never overwritten. Choose another --output_dir."
        )
    sources = inventory(config.data_dir, exclude=config.output_dir)
    return sources[: DEBUG_BATCHES * config.batch_size] if config.debug else sources


def _non_matching(config: RunConfig) -> list[QueryImage]:
    folder = config.evaluation.query_nonmatch_dir
    if folder is None or not config.evaluation.eval_icd:
        return []
    # ids of references start at 0 and of protected images at 2**62: negative ones are free
    return [QueryImage(-source.id, source.path, NO_MATCH) for source in inventory(folder)]


def _attacks(config: RunConfig) -> tuple[Attack, ...]:
    # Made in both cases, so that a wrong template is told before any work.
    default = default_attacks(config.evaluation.screenshot_template)
    return attacks_2() if config.evaluation.use_attacks_2 else default


def _check_activation(config: RunConfig) -> None:
    activation_method(config.activation.method)
    if config.active:
        check_specs(config.activation.optimizer, config.activation.scheduler)


def _remove_images(config: RunConfig, release: FolderRelease) -> None:
    if not config.save_imgs:
        for _, path in release.shipped():
            path.unlink(missing_ok=True)


def _device(config: RunConfig) -> torch.device:
    if config.device is not None:
        return torch.device(config.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _threads(config: RunConfig) -> int:
    return max(1, _workers(config))


def _workers(config: RunConfig) -> int:
    return len(os.sched_getaffinity(0)) if config.workers is None else config.workers


class _Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
