"""An index and its side-car on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from active_indexing.artefacts import atomic
from active_indexing.checks import regular_file
from active_indexing.index.vector_index import IndexFileError, VectorIndex

EMBEDDED_DIR = Path(__file__).parents[1] / "assets"


def index_path(folder: Path, factory: str, metric: str) -> Path:
    """``<folder>/idx=<factory>_quant=<metric>.index``."""
    return folder / f"idx={factory}_quant={metric}.index"


def save(path: Path, index: VectorIndex, inputs: dict[str, Any]) -> None:
    """Write an index and its side-car; the index last, so that it never lies there unexplained."""
    content = index.to_bytes()
    side_car = {"inputs": inputs, "sha256": _sha256(content), "ntotal": index.ntotal}
    atomic.write_json(path.with_suffix(".json"), side_car)
    atomic.write_bytes(path, content)


def load(
    path: Path, inputs: dict[str, Any] | None, factory: str, metric: str
) -> tuple[VectorIndex, dict[str, Any]]:
    """Read an index and check that it is whole and made from these inputs.

    Args:
        path: the index file.
        inputs: what it must have been made from; ``None`` takes the side-car's word.
        factory: its factory string.
        metric: ``L2`` or ``IP``.

    Returns:
        The index and the inputs of its side-car.

    Raises:
        IndexFileError: foreign, changed, truncated, or made from something else.
    """
    side_car = path.with_suffix(".json")
    regular_file(path, "index file", "move it away")
    made_from, expected = _side_car(path, side_car)
    differing = [] if inputs is None else [key for key in inputs if made_from.get(key) != inputs[key]]
    if differing:
        raise IndexFileError(f"{path} was made with another {' and '.join(differing)} than this run's")
    content = path.read_bytes()
    if _sha256(content) != expected:
        raise IndexFileError(f"{path} was truncated or changed after it was written")
    index = VectorIndex.from_bytes(content, factory, metric)
    wrong = index.misfits()
    if index.dim != made_from.get("dim"):
        wrong.insert(0, f"it is for {index.dim} dimensions, its side-car says {made_from.get('dim')}")
    if wrong:
        raise IndexFileError(f"{path} holds no index {factory} with --quant {metric}: {wrong[0]}")
    return index, made_from


def made_from(path: Path) -> dict[str, Any]:
    """What the side-car of an index file says it was made from.

    Raises:
        IndexFileError: there is no whole side-car.
        FileNotFoundError: there is no index file.
    """
    regular_file(path, "index file", "give the .index file that was saved")
    return _side_car(path, path.with_suffix(".json"))[0]


def _side_car(path: Path, side_car: Path) -> tuple[dict[str, Any], str]:
    if not side_car.exists():
        raise IndexFileError(f"{path} has no {side_car.name} that says what made it")
    regular_file(side_car, "side-car of an index", "move it and the index away")
    try:
        content = json.loads(side_car.read_text())
        made_from, expected = dict(content["inputs"]), content["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise IndexFileError(f"{side_car} is damaged") from error
    return made_from, expected


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
