"""From attacked copies to what the index answers."""

from __future__ import annotations

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

    Copy by copy: the size of a batch can change the last bits of a descriptor (measured: ResNet-50), so an
    answer would depend on which other attacks ran, or failed.

    Args:
        result: network inputs of the copies.
        descriptor: describes them.
        index: searched.
        k: answers wanted per copy.
        image_index: id of the image, or ``NO_MATCH``.

    Returns:
        One row per copy, in the order of ``result.attacks``.
    """
    rows = []
    for network_input, (attack, param) in zip(result.inputs, result.attacks, strict=True):
        found = index.search(describe_input(network_input, descriptor), k)[0]
        rows.append(QueryRow(image_index, attack, param, found.ids, found.distances))
    return rows


@torch.no_grad()
def describe_input(network_input: np.ndarray, descriptor: Descriptor) -> np.ndarray:
    """Descriptor of one preprocessed image.

    Args:
        network_input: (3, h, w) float32.
        descriptor: describes it.

    Returns:
        (1, D) float32.
    """
    device = next((p.device for p in descriptor.parameters()), torch.device("cpu"))
    return descriptor.describe(torch.from_numpy(network_input)[None].to(device)).cpu().numpy()
