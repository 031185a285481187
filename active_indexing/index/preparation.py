"""Trained indexes on disk: made once, named by what they are, used again only when nothing has changed.

Beside ``idx=<factory>_quant=<metric>.index`` lies a ``.json`` that says what it was made from. The index file
holds no entries, but for the embedded default, which holds its references.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.extraction.matrix_file import DescriptorMatrix, open_descriptors, reference_names
from active_indexing.index.config import IndexConfig
from active_indexing.index.files import EMBEDDED_DIR, index_path, load, save
from active_indexing.index.vector_index import IndexFileError, VectorIndex, new_index
from active_indexing.parallel.progress import progress_bar


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


def prepare_index(
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
    references = open_fitting(config.fts_reference_path, dim, descriptor)
    names = None if references is None else reference_names(references.path, len(references))
    index, inputs, path = _trained(config, dim, descriptor, references, seed)
    first = index.ntotal  # the embedded index already holds 0 ... ntotal - 1
    if references is not None:
        inputs["references"] = references.identity()
        _add(index, references, first, progress)
    index.set_nprobe(config.nprobe)
    return PreparedIndex(index, inputs, names, first, path)


def open_fitting(path: Path | None, dim: int, descriptor: str) -> DescriptorMatrix | None:
    """Open a file of descriptors, and refuse one of another descriptor; ``None`` stays ``None``.

    Raises:
        ValueError: another dimension, or another descriptor.
        FileNotFoundError: no such file.
    """
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
    config: IndexConfig, dim: int, descriptor: str, references: DescriptorMatrix | None, seed: int
) -> tuple[VectorIndex, dict[str, Any], Path | None]:
    index = new_index(config.idx_factory, config.quant, dim)
    training = open_fitting(config.fts_training_path, dim, descriptor)
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


def _add(index: VectorIndex, references: DescriptorMatrix, first: int, progress: bool) -> None:
    with progress_bar(total=len(references), desc="references", unit="vec", disable=not progress) as bar:
        for start, chunk in references.chunks():
            index.add(chunk, first + start + np.arange(len(chunk)))
            bar.update(len(chunk))
