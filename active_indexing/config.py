"""Settings of a run: one frozen dataclass per stage, checked once, defaults of the command line.

Field names are the published flag names; a default differs from the published one only where the
field's comment says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from active_indexing.activation.config import ActivationConfig
from active_indexing.checks import at_least, between, one_of, setting
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.evaluation.config import EvaluationConfig
from active_indexing.index.config import IndexConfig
from active_indexing.release.config import METADATA_MODES, SAVE_FORMATS, ReleaseConfig, check_quality

EXISTING_MODES = ("resume", "overwrite")

MOST_WORKERS = 1024
"""Processes and threads; more than any machine has cores."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One arm of a run: what goes in, where it comes out, and every stage's settings.

    Every field is a flag of the same name; its ``help`` says what it means.
    """

    data_dir: Path = field(
        metadata={
            "help": "folder of images to protect, searched recursively, or one image; never written to "
            "(default: demo photos)"
        }
    )
    output_dir: Path = field(
        metadata={
            "help": "where everything is written (default: output/active or output/passive, by --active)"
        }
    )
    active: bool = setting(True, "move the images (True) or release them as they are (False)")
    seed: int = setting(0, "seeds everything random")
    batch_size: int = setting(
        16,
        "images that are moved together on an accelerator, fewer when its memory is too small; on a CPU, and "
        "by --method published everywhere, images are moved one by one and only --debug counts them",
    )
    save_imgs: bool = setting(
        True, "keep the released images; otherwise they are removed after the evaluation"
    )
    save_format: str = setting(
        "png",
        "format of the released images; same: the one that each input's name stands for, PNG when it "
        "stands for none of these",
        choices=SAVE_FORMATS,
    )
    save_quality: int | None = setting(
        None, "of JPEG and lossy WebP, 1 to 100 (default: the source's tables for JPEG of a JPEG, else 90)"
    )
    metadata: str = setting(
        "keep",
        "EXIF and XMP of released images: keep them, strip-gps: without the place, strip: neither; colour "
        "profiles stay, embedded thumbnails go",
        choices=METADATA_MODES,
    )
    workers: int | None = setting(
        None, "images in work at the same time (default: one per core; 0: no worker processes)"
    )
    device: str | None = setting(None, "torch device (default: a GPU when there is one)")
    existing: Literal["resume", "overwrite"] = setting(
        "resume",
        "an output folder that holds a run: resume it if its settings are the same, or overwrite it",
        choices=EXISTING_MODES,
    )
    report: bool = setting(True, "write report.html, the page about the run")
    store: Path | None = setting(
        None, "folder of a store that remembers the released images, made when missing (default: none)"
    )
    verbose: int = setting(1, "0: errors only; 1: progress and summary")
    log_freq: int = setting(0, "write the losses of every n-th step to activation_log.jsonl; 0: never")
    debug: bool = setting(False, "stop after the first six batches")
    descriptor: DescriptorConfig = field(default_factory=DescriptorConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    activation: ActivationConfig = field(default_factory=ActivationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        between("batch_size", self.batch_size, 1, 1_000_000)
        between("seed", self.seed, 0, 2**64 - 1)
        at_least("log_freq", self.log_freq, 0)
        one_of("existing", self.existing, EXISTING_MODES)
        one_of("save_format", self.save_format, SAVE_FORMATS)
        one_of("metadata", self.metadata, METADATA_MODES)
        if self.save_quality is not None:
            check_quality(self.save_quality, self.save_format)
        if self.store is not None and not self.save_imgs:
            raise ValueError("--store remembers where released images are kept: leave --save_imgs True.")
        if self.workers is not None:
            between("workers", self.workers, 0, MOST_WORKERS)

    @property
    def release(self) -> ReleaseConfig:
        """What the release of one image needs to know."""
        return ReleaseConfig(
            active=self.active,
            seed=self.seed,
            save_format=self.save_format,
            save_quality=self.save_quality,
            metadata=self.metadata,
            entries=self.index.entries,
            batch_size=self.batch_size,
        )

    def settings(self) -> dict[str, Any]:
        """All settings in one flat dict of JSON values; ``configure(**settings)`` gives them back."""
        flat = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in STAGES}
        for stage in STAGES:
            part = getattr(self, stage)
            flat |= {field.name: getattr(part, field.name) for field in fields(part)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in flat.items()}


STAGES: dict[str, type] = {
    "descriptor": DescriptorConfig,
    "index": IndexConfig,
    "activation": ActivationConfig,
    "evaluation": EvaluationConfig,
}
"""Fields of ``RunConfig`` that hold the settings of one stage."""


def configure(**settings: Any) -> RunConfig:
    """The configuration of a run from flat settings, named like the flags of the command line.

    Args:
        **settings: ``data_dir``, ``output_dir`` and whatever differs from the defaults; paths may be text.

    Raises:
        TypeError: a name that is no setting, a missing folder, or something else in place of a path.
        ValueError: a value out of its range.
    """
    given = dict(settings)
    parts = {name: kind(**_taken(kind, given)) for name, kind in STAGES.items()}
    run = _taken(RunConfig, given)
    if given:
        raise TypeError(f"unknown settings: {', '.join(sorted(given))}; they are named like the flags.")
    return RunConfig(**run, **parts)


def types_of(kind: type) -> dict[str, type]:
    """The type of every field of a dataclass of settings, without the ``None`` that stands for a default."""

    def plain(hint: Any) -> type:
        first = get_args(hint)[0] if get_args(hint) else hint
        return first if isinstance(first, type) else type(first)  # Literal["resume", ...] holds words

    return {name: plain(hint) for name, hint in get_type_hints(kind).items()}


def _taken(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """The settings of one dataclass, removed from ``given``."""
    found, types = {}, types_of(kind)
    for each in fields(kind):
        if each.name in given and each.name not in STAGES:
            value = given.pop(each.name)
            if types[each.name] is Path and not isinstance(value, str | Path | None):
                raise TypeError(
                    f"{each.name} must be the path of a file or folder, got a {type(value).__name__}: save "
                    "pictures to files first."
                )
            found[each.name] = Path(value) if isinstance(value, str) and types[each.name] is Path else value
    return found
