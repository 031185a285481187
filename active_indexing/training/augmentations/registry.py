"""Makers of training views by name."""

from __future__ import annotations

from active_indexing.training.augmentations.chains import ChainedEdits
from active_indexing.training.augmentations.isc import STRENGTHS, ISCEdits
from active_indexing.training.augmentations.light import LightEdits
from active_indexing.training.augmentations.sscd import STRONG_BLUR, WEAK_BLUR, SSCDEdits
from active_indexing.training.augmentations.sscd_pil import PILEdits
from active_indexing.training.augmentations.views import DrawnEdits, ViewMaker
from active_indexing.training.config import TrainingConfig


def build_edits(config: TrainingConfig) -> ViewMaker:
    """What makes the views of a training."""
    if config.edits == "drawn":
        return DrawnEdits(config.seed)
    if config.edits == "chained":
        return ChainedEdits(config.seed)
    if config.edits in ("shifted", "plain"):
        return LightEdits(shifted=config.edits == "shifted")
    if config.edits in STRENGTHS:
        return ISCEdits(STRENGTHS[config.edits], seed=config.seed)
    blur = WEAK_BLUR if config.edits.startswith("simclr") else STRONG_BLUR
    make = PILEdits if config.edits.endswith("_pil") else SSCDEdits
    return make(blur, advanced=config.edits.startswith("advanced"), seed=config.seed)
