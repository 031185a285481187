"""What benches of indexes share: their flags' index and descriptor, and how well an index finds an arm."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.index.config import IndexConfig
from active_indexing.index.preparation import prepare_index
from active_indexing.index.vector_index import VectorIndex
from active_indexing.metrics.bootstrap import drawn_means, percentile_interval
from scripts.benches.outcomes import hits_of
from scripts.benches.released import Arm


class IndexBench(Protocol):
    """A bench, made of its flags, a descriptor, and a folder for released files."""

    def __init__(self, arguments: argparse.Namespace, descriptor: Descriptor, work: Path) -> None: ...

    def rows(self) -> Iterable[dict[str, Any]]:
        """Rows of its table."""


def add_index_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of all benches of indexes: photos, descriptors, descriptor."""
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, help="photos to protect")
    add("--fts_training_path", type=Path, required=True, help="as for main.py")
    add("--fts_reference_path", type=Path, required=True, help="as for main.py")
    add("--model_name", help="as for main.py (default: the default descriptor)")
    add("--model_path", type=Path, help="as for main.py")
    add("--resize_size", type=int, help="as for main.py")


def measured(arguments: argparse.Namespace, bench: type[IndexBench]) -> list[dict[str, Any]]:
    """All rows of a bench.

    Raises:
        ValueError, OSError: flags or files that do not fit.
    """
    model = DescriptorConfig(
        model_name=arguments.model_name, model_path=arguments.model_path, resize_size=arguments.resize_size
    )
    descriptor = load_descriptor(model, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as work:
        return list(bench(arguments, descriptor, Path(work)).rows())


def trained(
    arguments: argparse.Namespace, descriptor: Descriptor, factory: str, *, references: bool = True
) -> VectorIndex:
    """An index of the flags' descriptors, kept below ``--output_dir``, with or without the references."""
    config = IndexConfig(
        idx_factory=factory,
        fts_training_path=arguments.fts_training_path,
        fts_reference_path=arguments.fts_reference_path if references else None,
        idx_dir=arguments.output_dir / "indexes",
    )
    return prepare_index(config, descriptor.dim, descriptor.fingerprint).index


def recall_of(index: VectorIndex, arm: Arm) -> dict[str, Any]:
    """Mean R@1 over the attacks, with its 95 % interval (bootstrap over images)."""
    found = hits_of(index, arm.ids, arm.copies)
    ends = percentile_interval(drawn_means(found).mean(axis=1))
    return {
        "images": len(found),
        "recall": f"{np.nanmean(found, axis=0).mean():.4f}",
        "low": f"{ends.low:.4f}",
        "high": f"{ends.high:.4f}",
    }
