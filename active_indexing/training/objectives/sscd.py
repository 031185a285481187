"""InfoNCE with KoLeo and mixing, as SSCD trains."""

from __future__ import annotations

import torch

from active_indexing.training.distributed import collectives
from active_indexing.training.objectives.contrastive import Pairs, Views, pairs_of_copies
from active_indexing.training.objectives.mixing import pairs_of_mixed


def pairs_of_batch(
    views: Views, labels: torch.Tensor | None, *, asymmetric: bool, device: torch.device
) -> Pairs:
    """Which views of all processes show the same image.

    Args:
        views: of this process.
        labels: of mixed views, ``None`` without mixing.
        asymmetric: join references with edits only.
        device: where the masks go.
    """
    if labels is not None:
        pairs = pairs_of_mixed(labels, collectives.rank(), collectives.world_size())
    else:
        # As numbers: not every backend gathers booleans.
        image, reference, number = (collectives.gather(field.long().to(device)).cpu() for field in views)
        everyone = Views(image, reference.bool(), number)
        pairs = pairs_of_copies(views, everyone, asymmetric=asymmetric)
    return Pairs(*(mask.to(device) for mask in pairs))
