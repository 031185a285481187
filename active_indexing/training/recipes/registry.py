"""Trainings that are ready to use, by name."""

from __future__ import annotations

from active_indexing.training.config import TrainingConfig
from active_indexing.training.recipes import contrastive, distillation

RECIPES: dict[str, TrainingConfig] = {
    "default": distillation.DEFAULT,
    "default_first_edition": contrastive.FIRST_DEFAULT,
    "sscd_simclr": contrastive.SSCD_SIMCLR,
    "sscd_blur": contrastive.SSCD_BLUR,
    "sscd_advanced": contrastive.SSCD_ADVANCED,
    "sscd_mixup": contrastive.SSCD_MIXUP,
    "kd_icd": distillation.KD_ICD,
    "rdcd": distillation.RDCD,
}


def recipe(name: str) -> TrainingConfig:
    """Settings by name.

    Raises:
        ValueError: if there is no such recipe.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown --recipe {name!r}; choose from {', '.join(RECIPES)}.")
    return RECIPES[name]
