"""Trained indexes on disk: made once, named by what they are, used again only when nothing has changed.

Beside ``idx=<factory>_quant=<metric>.index`` lies a ``.json`` that says what it was made from. The index file
holds no entries, but for the embedded default, which holds its references.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from active_indexing.artefacts import atomic
from active_indexing.config import IndexConfig
from active_indexing.extraction.matrix_file import DescriptorFile, open_descriptors, reference_names
from active_indexing.indexing import IndexFileError, VectorIndex, new_index

EMBEDDED_DIR = Path(__file__).parent / "assets"


@dataclass(frozen=True, eq=False)
class PreparedIndex:
    """An index ready for the protected images.

    Attributes:
        index: trained, filled with the references, nprobe set.
        inputs: what made it, for ``run.json`` and for deciding whether a run can be resumed.
        names: file with one line per reference, when there is one.
        first_reference: id of the reference on its first line; the next have the next ids.
        path: the index file.
    """

    index: VectorIndex
    inputs: dict[str, Any]
    names: Path | None
    first_reference: int
    path: Path | None


def index_path(folder: Path, factory: str, metric: str) -> Path:
    """``<folder>/idx=<factory>_quant=<metric>.index``."""
    return folder / f"idx={factory}_quant={metric}.index"


def prepare(
    config: IndexConfig, dim: int, descriptor: str, *, seed: int = 0, progress: bool = False
) -> PreparedIndex:
    """Load or train the index and add the references.

    Args:
        config: which index.
        dim: length of the descriptors that will be searched.
        descriptor: fingerprint of the descriptor.
        seed: picks the training sample when there are more vectors than FAISS would use.
        progress: show a bar while references are added.

    Raises:
        ValueError: anything that does not fit together; nothing is written then.
        FileNotFoundError: a descriptor file is missing.
    """
    references = _opened(config.fts_reference_path, dim, descriptor)
    names = None if references is None else reference_names(references.path, len(references))
    index, inputs, path = _trained(config, dim, descriptor, references, seed)
    first = index.ntotal  # the embedded index already holds 0 ... ntotal - 1
    if references is not None:
        inputs["references"] = references.identity()
        _add(index, references, first, progress)
    index.set_nprobe(config.nprobe)
    return PreparedIndex(index, inputs, names, first, path)


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
    made_from, expected = _side_car(path, side_car)
    differing = [] if inputs is None else [key for key in inputs if made_from.get(key) != inputs[key]]
    if differing:
        raise IndexFileError(f"{path} was made with another {' and '.join(differing)} than this run's")
    content = path.read_bytes()
    if _sha256(content) != expected:
        raise IndexFileError(f"{path} was truncated or changed after it was written")
    return VectorIndex.from_bytes(content, factory, metric), made_from


def _side_car(path: Path, side_car: Path) -> tuple[dict[str, Any], str]:
    if not side_car.is_file():
        raise IndexFileError(f"{path} has no {side_car.name} that says what made it")
    try:
        content = json.loads(side_car.read_text())
        made_from, expected = dict(content["inputs"]), content["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise IndexFileError(f"{side_car} is damaged") from error
    return made_from, expected


def _opened(path: Path | None, dim: int, descriptor: str) -> DescriptorFile | None:
    if path is None:
        return None
    file = open_descriptors(path)
    if file.dim != dim:
        raise ValueError(
            f"{path} has descriptors of {file.dim} dimensions, but this run's descriptor "
            f"gives {dim}: extract it again with the same model flags."
        )
    if file.made_by not in (None, descriptor):
        raise ValueError(
            f"{path} was extracted with another descriptor than this run's: extract it again with the same "
            "--model_name, --model_path and --resize_size."
        )
    return file


def _trained(
    config: IndexConfig, dim: int, descriptor: str, references: DescriptorFile | None, seed: int
) -> tuple[VectorIndex, dict[str, Any], Path | None]:
    index = new_index(config.idx_factory, config.quant, dim)
    training = _opened(config.fts_training_path, dim, descriptor)
    inputs = {"factory": config.idx_factory, "quant": config.quant, "dim": dim, "descriptor": descriptor}
    if not index.needs_training:
        return index, inputs, None
    if training is None:
        return _embedded(config, inputs)
    most = index.training_sizes.most
    inputs["training"] = training.identity()
    if len(training) > most:
        inputs["training_sample_seed"] = seed
    path = index_path(config.idx_dir, config.idx_factory, config.quant)
    if path.exists():
        return *_stored(path, inputs, config), path
    for _ in () if references is None else references.chunks():
        pass  # a row that can't be added is told before the long training, and before anything is written
    _warn_of_few(index, len(training))
    index.train(training.sample(most, seed))
    save(path, index, inputs)
    return index, inputs, path


def _stored(path: Path, inputs: dict[str, Any], config: IndexConfig) -> tuple[VectorIndex, dict[str, Any]]:
    try:
        return load(path, inputs, config.idx_factory, config.quant)
    except IndexFileError as error:
        raise IndexFileError(
            f"{error}. Move {path.name} and its .json away (or choose another --idx_dir) to have it "
            "trained again."
        ) from error


def _embedded(config: IndexConfig, inputs: dict[str, Any]) -> tuple[VectorIndex, dict[str, Any], Path]:
    path = index_path(EMBEDDED_DIR, config.idx_factory, config.quant)
    if not path.exists():
        raise ValueError(
            f"an index {config.idx_factory} with --quant {config.quant} must be trained: give "
            "--fts_training_path a file of descriptors (scripts/extract_fts.py makes one). Without it "
            f"only the embedded index is there ({IndexConfig.idx_factory}, {IndexConfig.quant})."
        )
    try:
        return *load(path, inputs, config.idx_factory, config.quant), path
    except IndexFileError as error:
        raise IndexFileError(
            f"the embedded index can't be used: {error}. It serves the default descriptor at its own size "
            "only: with --model_name, --model_path or --resize_size give --fts_training_path as well. "
            "If you gave none of these, install the package again."
        ) from error


def _warn_of_few(index: VectorIndex, rows: int) -> None:
    sizes = index.training_sizes
    if sizes.least <= rows < sizes.good:
        print(
            f"warning: {index.factory} wants {sizes.good:,} training descriptors; "
            f"{rows:,} make a poor index.",
            file=sys.stderr,
        )


def _add(index: VectorIndex, references: DescriptorFile, first: int, progress: bool) -> None:
    with tqdm(total=len(references), desc="references", unit="vec", disable=not progress) as bar:
        for start, chunk in references.chunks():
            index.add(chunk, first + start + np.arange(len(chunk)))
            bar.update(len(chunk))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
