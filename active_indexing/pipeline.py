"""One arm of a run, from a folder of images to released files and CSVs."""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.activation.config import LOSS_BATCH, ActivationConfig
from active_indexing.activation.methods.registry import activation_method, check_settings
from active_indexing.artefacts import atomic, csv_tables, identity, versions
from active_indexing.artefacts.run_log import RUN_LOG, RunLog, Stages, note
from active_indexing.attacks.screenshots import check_template
from active_indexing.config import RunConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.evaluation.harness import (
    EvaluationHarness,
    ProtectedImages,
)
from active_indexing.evaluation.stage import QueryImage
from active_indexing.extras import MissingExtraError, require, require_for_reports
from active_indexing.images.inventory import inventory
from active_indexing.index.preparation import PreparedIndex, prepare_index
from active_indexing.parallel.resources import device_for, threads_for, workers_for
from active_indexing.parallel.threads import one_core_per_operation
from active_indexing.passive_baseline import passive_baseline
from active_indexing.records import ManifestRow, SourceImage
from active_indexing.release import manifest
from active_indexing.release.folder import IMAGES, FolderRelease
from active_indexing.release.image import ImageReleaser
from active_indexing.release.manifest import quality_table
from active_indexing.release.output_folder import open_journal
from active_indexing.release.sources import identified
from active_indexing.release.step_log import StepLog
from active_indexing.store_run import Fitting, archive_run, open_or_create
from active_indexing.view_retrieval import view_retrieval

DEBUG_BATCHES = 6  # published active_indexing: --debug stops after six batches


@dataclass(frozen=True)
class RunSummary:
    """What a run did; the content of ``run.json``.

    Attributes:
        output_dir: where everything is.
        content: config, versions, fingerprints, counts, figures and timings.
        report: the page about the run; ``None`` without ``report``, or where it could not be made.
    """

    output_dir: Path
    content: dict[str, Any]
    report: Path | None = None


def run(config: RunConfig) -> RunSummary:
    """Release a folder of images in one arm and evaluate the released files.

    Running it again with the same settings goes on where it stopped, and does nothing twice.

    Raises:
        ValueError: settings that don't fit together, or an output folder of other settings.
        FileNotFoundError: no images, or a missing file.
        BlockingIOError: another run is writing to the output folder.
    """
    with RunLog() as log:
        return _one_arm(config, log)


def _one_arm(config: RunConfig, log: RunLog) -> RunSummary:
    note("run_started", process=os.getpid(), versions=versions.versions(), config=asdict(config))
    stages = Stages("prepare")
    if config.evaluation.evaluates:
        require("augly", "attacks")
    sources = sources_of(config)
    check_activation(config)
    descriptor = load_descriptor(config.descriptor, device_for(config.device))
    fingerprint = descriptor.fingerprint
    prepared = prepare_index(
        config.index, descriptor.dim, fingerprint, seed=config.seed, progress=config.verbose > 0
    )
    if config.active:
        activation_method(config.activation.method).check(config.activation, prepared.index)
    evaluation = EvaluationHarness(
        config.evaluation,
        config.index,
        descriptor,
        fingerprint,
        prepared,
        output_dir=config.output_dir,
        seed=config.seed,
        progress=config.verbose > 0,
    )
    if config.workers != 0:
        evaluation.preload()
    if config.store is not None:  # one that does not fit is refused before any work
        open_or_create(config, config.store, Fitting(descriptor, prepared.index))
    header, overwrite = release_header(config, fingerprint, prepared.inputs), config.existing == "overwrite"
    with (
        open_journal(config.output_dir, header, overwrite=overwrite) as journal,
        log.to(config.output_dir / RUN_LOG),
        one_core_per_operation(),
    ):
        stages.next("release")
        sources = identified(sources, journal, progress=config.verbose > 0)
        release = FolderRelease(journal, config.output_dir, sources, config.save_format)
        _release(config, release, evaluation, descriptor, prepared)
        if config.store is not None:
            archive_run(config, config.store, release, descriptor)
        stages.next("baseline")
        protected = _protected(release, config.save_imgs)
        baseline = passive_baseline(
            config,
            sources,
            release,
            evaluation,
            descriptor,
            prepared,
            header=release_header(replace(config, active=False), fingerprint, prepared.inputs),
            asked=evaluation.sampled(protected.queries),
        )
        stages.next("views")
        _add_protected(release, prepared)
        views = view_retrieval(config, release, evaluation, protected, prepared)
        stages.next("evaluate")
        evaluated = (
            baseline.content
            | views.content
            | evaluation.run(
                protected,
                workers_for(config.workers),
                threads_for(config.workers),
                failures=[*baseline.failures, *views.failures],
            )
        )
        stages.next("finish")
        content = _content(config, descriptor, fingerprint, prepared, release) | evaluated
        content["seconds"] = dict(stages.laps)
        log.counts = _counts(content)
        if not config.save_imgs:
            protected = _protected(release, departed=False)
            covered = evaluation.is_covered(release.removed_for, protected)
            release.remove(str(release.removed_for) if covered else evaluation.identity(protected))
        atomic.write_json(config.output_dir / "run.json", content)
        report = _write_report(config.output_dir) if config.report else None
        stages.end()
    return RunSummary(config.output_dir, content, report)


def _release(
    config: RunConfig,
    release: FolderRelease,
    evaluation: EvaluationHarness,
    descriptor: Descriptor,
    prepared: PreparedIndex,
) -> None:
    log = StepLog(config.output_dir / "activation_log.jsonl", config.log_freq) if config.log_freq else None
    releaser = ImageReleaser(
        config.release, config.activation, descriptor, prepared.index, config.output_dir / IMAGES, log
    )
    threads, progress = threads_for(config.workers), config.verbose > 0
    if (
        device_for(config.device).type != "cpu"
    ):  # one batch on the accelerator, one that is read or written meanwhile
        threads = max(threads, 2 * config.batch_size)
    before = _protected(release, config.save_imgs)
    removed = not config.save_imgs and evaluation.is_covered(release.removed_for, before)
    release.run(releaser, threads=threads, progress=progress, removed=removed)
    if removed and not evaluation.is_covered(release.removed_for, _protected(release, departed=False)):
        # the removed images are needed again
        release.run(releaser, threads=threads, progress=progress)
    rows = (manifest.manifest_row(released.row) for _, released in release.items())
    csv_tables.write_csv(config.output_dir / "manifest.csv", ManifestRow.columns(), rows)


def _protected(release: FolderRelease, departed: bool) -> ProtectedImages:
    """What is evaluated; departed images too unless released files are removed, which can't be made again."""
    shipped = release.shipped(departed=departed)
    queries = [QueryImage(id_, path, id_, version) for id_, path, version in shipped]
    return ProtectedImages(queries, identity.fingerprint(release.inputs()), release.journal_folder)


def release_header(config: RunConfig, descriptor: str, index: dict[str, Any]) -> dict[str, Any]:
    """What released files depend on; the references too where a method keeps away from them.

    Args:
        config: the run.
        descriptor: fingerprint of the descriptor.
        index: what made the index.
    """
    apart = config.active and activation_method(config.activation.method).depends_on_references
    changed = {} if config.metadata == "keep" else {"metadata": config.metadata}  # unknown to older journals
    return changed | {
        "active": config.active,
        "seed": config.seed,
        "save_format": config.save_format,
        "save_quality": config.save_quality,
        "activation": _activation(config.activation) if config.active else None,
        "descriptor": descriptor,
        "entries": config.index.entries,
        "index": {name: value for name, value in index.items() if apart or name != "references"},
    }


def _activation(config: ActivationConfig) -> dict[str, Any]:
    """The settings of activation; one that older journals don't know is left out at its default."""
    settings = asdict(config)
    if config.loss_batch == LOSS_BATCH:
        del settings["loss_batch"]
    return settings


def _counts(content: dict[str, Any]) -> dict[str, Any]:
    """What the last line of the log counts."""
    quality, evaluated = content["quality"], content["sample"]["evaluated"]
    counts = {"released": quality["released"], "skipped": quality["skipped"], "evaluated": evaluated}
    return counts | {"failed_attacks": sum(content["failed_attacks"].values())}


def _add_protected(release: FolderRelease, prepared: PreparedIndex) -> None:
    """Add what the method wants remembered: for the published one the input, not the released file."""
    added: set[int] = set()
    for source, released in release.items():
        if released.entries is not None and source.id not in added:
            added.add(source.id)
            prepared.index.add(released.entries, np.full(len(released.entries), source.id))


def _content(
    config: RunConfig,
    descriptor: Descriptor,
    fingerprint: str,
    prepared: PreparedIndex,
    release: FolderRelease,
) -> dict[str, Any]:
    inputs = release.inputs()
    return {
        "config": asdict(config),
        "versions": versions.versions(),
        "descriptor": {"name": descriptor.name, "dim": descriptor.dim, "fingerprint": fingerprint},
        "index": {**prepared.inputs, "path": prepared.path, "entries": prepared.index.ntotal},
        "inputs": {"count": len(inputs), "fingerprint": identity.fingerprint(inputs)},
        "quality": quality_table(released.row for _, released in release.items()),
    }


def sources_of(config: RunConfig) -> list[SourceImage]:
    """The inputs of a run, none of them a file that it released.

    Raises:
        ValueError: inputs that a release would overwrite.
        FileNotFoundError: no images.
    """
    output, released = config.output_dir.resolve(), (config.output_dir / IMAGES).resolve()
    data = config.data_dir.resolve()
    if data.is_relative_to(released):
        raise ValueError(
            f"--data_dir {config.data_dir} lies in the folder of released images {released}: inputs are "
            "never overwritten. Choose another --output_dir."
        )
    # Inputs inside the output folder are inputs all the same; only what was released there is not.
    sources = inventory(config.data_dir, exclude=released if data.is_relative_to(output) else output)
    return sources[: DEBUG_BATCHES * config.batch_size] if config.debug else sources


def check_activation(config: RunConfig) -> None:
    """Refuse what can't be, in both arms, so that the passive one, often run first, tells it too."""
    useless = check_settings(config.activation)
    if useless and config.active:
        warnings.warn(useless, stacklevel=3)
    check_template(config.evaluation.screenshot_template)


def _write_report(output_dir: Path) -> Path | None:
    try:
        require_for_reports()
        from active_indexing.reporting.page import write_report  # loads matplotlib: not while images wait

        return write_report([output_dir])
    except (ValueError, OSError, MissingExtraError) as error:  # the run is finished and stays so
        warnings.warn(f"no report.html: {error}", stacklevel=2)
        return None
