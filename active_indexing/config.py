"""Settings of a run: one frozen dataclass per stage, checked once, defaults of the command line.

Field names are the published flag names; a default differs from the published one only where the
field's comment says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from active_indexing.activation.config import ActivationConfig
from active_indexing.checks import at_least, one_of
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.evaluation.config import EvaluationConfig
from active_indexing.index.config import IndexConfig
from active_indexing.release.config import SAVE_FORMATS, ReleaseConfig, check_quality

EXISTING_MODES = ("resume", "overwrite")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One arm of a run: what goes in, where it comes out, and every stage's settings.

    Attributes:
        data_dir: folder of images to protect (searched recursively), or one image.
        output_dir: where everything is written.
        active: move the images (active arm) or release them as they are (passive arm).
        seed: seeds everything random.
        batch_size: images that are moved together on an accelerator, fewer when its memory is too small; on a
            CPU only ``debug`` counts them.
        save_imgs: keep the released images; otherwise they are removed after evaluation.
        save_format: format of the released images: ``png``, ``jpeg``, ``webp``, or ``same``, the one that
            the input's name stands for (PNG when it stands for none of these).
        save_quality: 1 to 100, of JPEG and lossy WebP; ``None`` keeps the tables of JPEG sources in JPEG
            releases, and is 90 for the others.
        workers: images in work at the same time; ``None`` is one per core, 0 does without worker processes.
        device: torch device; ``None`` is a GPU when there is one.
        existing: ``resume`` an earlier run of the same settings in ``output_dir``, or ``overwrite``.
        verbose: 0 is silent but for errors, 1 shows progress and the summary.
        log_freq: write the losses of every n-th step to ``activation_log.jsonl``; 0 is never.
        debug: stop after the first six batches.
    """

    data_dir: Path
    output_dir: Path
    active: bool = True
    seed: int = 0
    batch_size: int = 16
    save_imgs: bool = True
    save_format: str = "png"
    save_quality: int | None = None
    workers: int | None = None
    device: str | None = None
    existing: Literal["resume", "overwrite"] = "resume"
    verbose: int = 1
    log_freq: int = 0
    debug: bool = False
    descriptor: DescriptorConfig = field(default_factory=DescriptorConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    activation: ActivationConfig = field(default_factory=ActivationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("seed", self.seed, 0)
        at_least("log_freq", self.log_freq, 0)
        one_of("existing", self.existing, EXISTING_MODES)
        one_of("save_format", self.save_format, SAVE_FORMATS)
        if self.save_quality is not None:
            check_quality(self.save_quality, self.save_format)
        if self.workers is not None:
            at_least("workers", self.workers, 0)

    @property
    def release(self) -> ReleaseConfig:
        """What the release of one image needs to know."""
        return ReleaseConfig(
            active=self.active,
            seed=self.seed,
            save_format=self.save_format,
            save_quality=self.save_quality,
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
        TypeError: a name that is no setting, or a missing folder.
        ValueError: a value out of its range.
    """
    given = dict(settings)
    parts = {name: kind(**_taken(kind, given)) for name, kind in STAGES.items()}
    run = _taken(RunConfig, given)
    if given:
        raise TypeError(f"unknown settings: {', '.join(sorted(given))}; they are named like the flags.")
    return RunConfig(**run, **parts)


def _taken(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """The settings of one dataclass, removed from ``given``."""
    found = {}
    for each in fields(kind):
        if each.name in given and each.name not in STAGES:
            value = given.pop(each.name)
            found[each.name] = Path(value) if isinstance(value, str) and "Path" in str(each.type) else value
    return found
