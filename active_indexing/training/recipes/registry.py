"""Trainings that are ready to use, by name; of this package, of plug-ins, or ``module:name``."""

from __future__ import annotations

from active_indexing.registry import Registry
from active_indexing.training.config import TrainingConfig
from active_indexing.training.recipes import contrastive, distillation, isc, patches, vit4icd

_OWN: dict[str, TrainingConfig] = {
    "default": distillation.DEFAULT,
    "default_first_edition": contrastive.FIRST_DEFAULT,
    "sscd_simclr": contrastive.SSCD_SIMCLR,
    "sscd_blur": contrastive.SSCD_BLUR,
    "sscd_advanced": contrastive.SSCD_ADVANCED,
    "sscd_mixup": contrastive.SSCD_MIXUP,
    "kd_icd": distillation.KD_ICD,
    "rdcd": distillation.RDCD,
    "copynce": patches.COPYNCE,
    "vit4icd_stage1": vit4icd.STAGE1,
    "vit4icd_stage2a": vit4icd.STAGE2A,
    "vit4icd_stage2b": vit4icd.STAGE2B,
    "vit4icd_stage3": vit4icd.STAGE3,
    "isc_v83": isc.V83,
    "isc_v86": isc.V86,
    "isc_v98": isc.V98,
    "isc_v107": isc.V107,
}


RATE_BATCH = 256
"""Images of a step that a base learning rate belongs to, in SSCD and RDCD."""

BASE_LEARNING_RATES = {
    **dict.fromkeys(("sscd_simclr", "sscd_blur", "sscd_advanced", "sscd_mixup"), 0.3),
    "rdcd": 1.0,
}
"""Recipes whose published programs scale the learning rate with the batch, to its base. The settings have
the rate of the published batch: 4096 for SSCD, 256 for RDCD."""


def scaled_learning_rate(base: float, batch: int) -> float:
    """Base x batch / 256.

    Args:
        base: learning rate for 256 images.
        batch: images of a step of all processes, each counted once however many views it has.
    """
    return base * batch / RATE_BATCH


def _recipe(thing: object) -> TrainingConfig:
    if not isinstance(thing, TrainingConfig):
        raise TypeError(f"it is a {type(thing).__name__}; expected a TrainingConfig")
    return thing


RECIPES: Registry[TrainingConfig] = Registry(
    "--recipe", _OWN, group="active_indexing.recipes", accept=_recipe
)


def recipe(name: str) -> TrainingConfig:
    """Settings by name.

    Raises:
        ValueError: if there is no such recipe, or what a plug-in's name stands for is none.
    """
    return RECIPES[name]
