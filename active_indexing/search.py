"""From attacked copies to what the index answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from active_indexing.attacks.jobs import AttackResult
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.indexing import VectorIndex
from active_indexing.records import QueryRow


def query_rows(
    result: AttackResult, descriptor: Descriptor, index: VectorIndex, k: int, image_index: int
) -> list[QueryRow]:
    """Search every attacked copy of one image.

    The copies of one image always go through the descriptor and the index together, and no others with them,
    so that the answers do not depend on how a run was cut into batches or resumed.

    Args:
        result: network inputs of the copies.
        descriptor: describes them.
        index: searched.
        k: answers wanted per copy.
        image_index: id of the image, or ``NO_MATCH``.

    Returns:
        One row per copy, in the order of ``result.attacks``.
    """
    if not result.inputs:
        return []
    neighbours = index.search(describe_inputs(result.inputs, descriptor), k)
    return [
        QueryRow(image_index, attack, param, found.ids, found.distances)
        for (attack, param), found in zip(result.attacks, neighbours, strict=True)
    ]


@torch.no_grad()
def describe_inputs(inputs: Sequence[np.ndarray], descriptor: Descriptor) -> np.ndarray:
    """Descriptors of preprocessed images, those of one size in one pass.

    Args:
        inputs: (3, h, w) float32 network inputs; sizes may differ.
        descriptor: describes them.

    Returns:
        (len(inputs), D) float32.
    """
    device = next((p.device for p in descriptor.parameters()), torch.device("cpu"))
    described = np.empty((len(inputs), descriptor.dim), dtype=np.float32)
    for shape in sorted({each.shape for each in inputs}):
        places = [i for i, each in enumerate(inputs) if each.shape == shape]
        batch = torch.from_numpy(np.stack([inputs[i] for i in places])).to(device)
        described[places] = descriptor.describe(batch).cpu().numpy()
    return described
