"""The Copydays protocol: copies of 157 holiday photos are searched among the photos and distractors.

Douze, Jegou, Sandhawalia, Amsaleg and Schmid, "Evaluation of GIST descriptors for web-scale image search",
CIVR 2009; measured as SSCD (Pizzi et al., CVPR 2022) does. A block is a folder of copies made the same way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from active_indexing.evaluation.protocols.codecs import fit_codec
from active_indexing.evaluation.protocols.exact_search import ExactSearch, best_per_query
from active_indexing.extraction.named_descriptors import NamedDescriptors
from active_indexing.metrics import ranking
from active_indexing.metrics.bootstrap import Interval, bootstrap
from active_indexing.metrics.ranking import RankedPairs, rank_pairs, resample

ORIGINAL, STRONG = "original", "strong"
JPEG_QUALITIES = (3, 5, 8, 10, 15, 20, 30, 50, 75)
CROPS = (10, 15, 20, 30, 40, 50, 60, 70, 80)
"""Per cent of the picture that is cut away."""

BLOCKS = (
    ORIGINAL,
    STRONG,
    *(f"jpegqual/{quality}" for quality in JPEG_QUALITIES),
    *(f"crops/{share}" for share in CROPS),
)
SIZES = {block: 229 if block == STRONG else 157 for block in BLOCKS}
"""Images of each block of the whole data set."""

GROUP = 4
"""Letters of a file name that an original and its strong copies share."""

NEIGHBOURS = 100  # answers per query, SSCD's evaluation


@dataclass(frozen=True, eq=False)
class CopydaysData:
    """Descriptors of Copydays.

    Attributes:
        blocks: block -> its images, in the order of their file names; holds ``original``.
        distractors: (M, D) descriptors of images that match nothing.
        training: (T, D) descriptors that codecs are fitted to.
    """

    blocks: dict[str, NamedDescriptors]
    distractors: np.ndarray
    training: np.ndarray | None = None


@dataclass(frozen=True)
class CopydaysResult:
    """What a codec is worth.

    Attributes:
        block_map: mAP of each block.
        overall_uap: average precision of all pairs of all blocks in one ranking.
        queries: number of queries.
        intervals: 95 % intervals over queries, of every block and of ``overall``; empty when not asked for.
    """

    block_map: dict[str, float]
    overall_uap: float
    queries: int
    intervals: dict[str, Interval]


def split_blocks(root: Path, images: NamedDescriptors) -> dict[str, NamedDescriptors]:
    """Sort descriptors of a Copydays folder into blocks; images outside of the known blocks are left out.

    Args:
        root: folder that holds ``original/`` and some or all of the other blocks.
        images: descriptors whose names are full paths.

    Raises:
        FileNotFoundError: no originals, or no copies.
    """
    rows: dict[str, list[int]] = {block: [] for block in BLOCKS}
    base = os.path.abspath(root)
    for row in sorted(range(len(images)), key=images.names.__getitem__):
        block = os.path.relpath(os.path.dirname(images.names[row]), base)
        if block in rows:
            rows[block].append(row)
    blocks = {
        block: NamedDescriptors(tuple(images.names[row] for row in chosen), images.vectors[chosen])
        for block, chosen in rows.items()
        if chosen
    }
    if ORIGINAL not in blocks or len(blocks) == 1:
        raise FileNotFoundError(
            f"{root} holds no {ORIGINAL}/ with copies in {STRONG}/, jpegqual/3/ ... or crops/10/ ...; unpack "
            "Copydays there with data/prepare_copydays.py."
        )
    return blocks


def right_originals(block: str, copies: Sequence[str], originals: Sequence[str]) -> list[list[int]]:
    """Which originals each copy was made from.

    A strong copy belongs to the originals with its first ``GROUP`` letters. The images of any other block
    have the names of their originals or, failing that, are as many and in the same order.

    Args:
        block: name of the block.
        copies: file names without ending, sorted.
        originals: likewise.

    Returns:
        Numbers of originals for each copy.

    Raises:
        ValueError: a copy without an original.
    """
    if block == STRONG:
        groups: dict[str, list[int]] = {}
        for number, name in enumerate(originals):
            groups.setdefault(name[:GROUP], []).append(number)
        lost = [name for name in copies if name[:GROUP] not in groups]
        if lost:
            raise ValueError(f"{block}/{lost[0]} begins like no original; is a file of {ORIGINAL}/ missing?")
        return [groups[name[:GROUP]] for name in copies]
    numbers = {name: number for number, name in enumerate(originals)}
    if all(name in numbers for name in copies):
        return [[numbers[name]] for name in copies]
    if len(copies) != len(originals):
        raise ValueError(
            f"{block}/ has {len(copies)} images under other names than the {len(originals)} originals, so "
            "that neither names nor places tell which belongs to which; unpack both again."
        )
    return [[number] for number in range(len(copies))]


def encode(data: CopydaysData, codec: str) -> CopydaysData:
    """All descriptors after a codec that is fitted to the training descriptors.

    Raises:
        ValueError: the codec is unknown, or can't be fitted.
    """
    transform = fit_codec(codec, data.training)
    blocks = {name: NamedDescriptors(b.names, transform(b.vectors)) for name, b in data.blocks.items()}
    return CopydaysData(blocks, transform(data.distractors))


def evaluate(
    data: CopydaysData, *, replicates: int = 0, seed: int = 0, k: int = NEIGHBOURS, device: torch.device
) -> CopydaysResult:
    """ExactSearch every image, the originals too, by L2 distance among originals and distractors.

    Args:
        data: encoded descriptors.
        replicates: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.
        k: answers per query.
        device: where descriptors are compared.
    """
    pairs, block_of = _search(data, k, device)
    parts = {
        block: resample(pairs, (block_of == number).astype(np.int64))
        for number, block in enumerate(data.blocks)
    }
    intervals: dict[str, Interval] = {}
    if replicates:
        for block, part in parts.items():
            intervals |= bootstrap(
                part,
                lambda drawn, name=block: {name: ranking.mean_average_precision(drawn)},  # type: ignore[misc]
                replicates=replicates,
                seed=seed,
            )
        intervals |= bootstrap(
            pairs,
            lambda drawn: {"overall": ranking.pooled_average_precision(drawn)},
            replicates=replicates,
            seed=seed,
        )
    return CopydaysResult(
        {block: ranking.mean_average_precision(part) for block, part in parts.items()},
        ranking.pooled_average_precision(pairs),
        len(block_of),
        intervals,
    )


def _search(data: CopydaysData, k: int, device: torch.device) -> tuple[RankedPairs, np.ndarray]:
    """Ranked pairs of all queries, and the number of the block of each query."""
    originals = data.blocks[ORIGINAL]
    queries = np.concatenate([block.vectors for block in data.blocks.values()])
    database = np.concatenate([originals.vectors, data.distractors])
    found = best_per_query(ExactSearch(queries, database, None, device), k)
    right = np.zeros((len(queries), len(originals)), dtype=bool)
    answers = [
        answer
        for name, block in data.blocks.items()
        for answer in right_originals(name, block.ids, originals.ids)
    ]
    for query, numbers in enumerate(answers):
        right[query, numbers] = True
    is_original = found.references < len(originals)
    correct = is_original & right[found.queries, np.minimum(found.references, len(originals) - 1)]
    block_of = np.repeat(np.arange(len(data.blocks)), [len(block) for block in data.blocks.values()])
    return rank_pairs(found.queries, found.scores, correct, right.sum(axis=1)), block_of
