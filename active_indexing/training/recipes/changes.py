"""Recipes with other weights of their terms, as the flags of the training program give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from active_indexing.training.objectives.interface import ObjectiveSettings
from active_indexing.training.objectives.patches import PatchContrastConfig

# Flag to the field of an objective's settings; "loss.x" is a field of its contrast.
FLAGS: Mapping[str, str] = {
    "infonce_temperature": "loss.temperature",
    "entropy_weight": "loss.entropy_weight",
    "teacher_dim": "teacher_dim",
    "moco_lambda": "contrast_weight",
    "kld_lambda": "relation_weight",
    "hn_lambda": "hard_negative_weight",
    "temp": "temperature",
    "m": "momentum",
    "queue_size": "queue_rows",
    "kd_lambda": "weight",
    "classes": "classes",
}
# Fields of these names mean the flag only in some settings.
ONLY = {"temp": "RDCDConfig", "m": "RDCDConfig", "kd_lambda": "SimilarityDistillationConfig"}


def with_terms(objective: ObjectiveSettings, given: Mapping[str, Any], recipe: str) -> ObjectiveSettings:
    """The same objective with some settings changed.

    Args:
        objective: of a recipe, or a contrast of patches around one.
        given: values by flag, see :data:`FLAGS`; ``None`` leaves the recipe's.
        recipe: its name, for errors.

    Raises:
        ValueError: if the objective has no such term, or the value has no meaning.
    """
    if isinstance(objective, PatchContrastConfig):
        return replace(objective, base=with_terms(objective.base, given, recipe))
    for flag, value in given.items():
        if value is not None:
            objective = _changed(objective, flag, value, recipe)
    return objective


def _changed(objective: Any, flag: str, value: object, recipe: str) -> Any:
    holder, _, name = FLAGS[flag].rpartition(".")
    settings = getattr(objective, holder, None) if holder else objective
    kind = type(objective).__name__
    if not is_dataclass(settings) or name not in _names(settings) or ONLY.get(flag, kind) != kind:
        raise ValueError(f"--{flag} is a term that the recipe {recipe} does not have; leave it out.")
    changed = replace(settings, **{name: value})  # type: ignore[type-var]  # an instance, not the class
    return replace(objective, **{holder: changed}) if holder else changed


def _names(settings: Any) -> set[str]:
    return {field.name for field in fields(settings)}


def with_patches(objective: ObjectiveSettings, weight: float | None, layer: str | None) -> ObjectiveSettings:
    """The same objective with a contrast of patches beside it, or with another one if it has one already.

    Args:
        objective: of a recipe.
        weight: of the contrast; ``None`` leaves it as it is.
        layer: that gives the patches; ``None`` leaves it as it is.

    Raises:
        ValueError: if a layer is named and no contrast asked for.
    """
    given: dict[str, Any] = {"weight": weight, "layer": layer}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return objective
    if isinstance(objective, PatchContrastConfig):
        return replace(objective, **given)
    if weight is None:
        raise ValueError("--copynce_layer says where patches come from; give --copynce WEIGHT with it.")
    return PatchContrastConfig(base=objective, **given)
