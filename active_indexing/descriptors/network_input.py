"""The network input of a large image, made band by band: the same bits for less time and memory.

A network input is small, yet on the way to it a 12-megapixel image becomes 144 MB of floats. The resize works
along the rows first and each row on its own, so a band of rows can be narrowed while it is in the cache; only
the narrow image (4 MB) is kept for the resize along the columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.images.tensors import to_tensor

# 3 MB of floats. At 12 MP bands of a quarter or half of it took as long; smaller images have one band.
BAND_PIXELS = 2**18


@torch.inference_mode()
def network_input(
    rows: Callable[[int, int], np.ndarray],
    height: int,
    width: int,
    preprocessing: Callable[[torch.Tensor], torch.Tensor],
) -> np.ndarray:
    """``preprocessing`` of an image whose rows are taken as they are needed.

    Args:
        rows: rows [top, bottom) of the image, (bottom - top, width, 3) uint8.
        height: of the image, in pixels.
        width: of the image, in pixels.
        preprocessing: from (3, height, width) float32 in [0, 1] to (3, h, w) float32. Any other than
            :class:`Preprocessing` gets the whole image at once.

    Returns:
        (3, h, w) float32, contiguous.
    """
    band = max(1, BAND_PIXELS // width)
    if isinstance(preprocessing, Preprocessing) and band < height:
        size = preprocessing.output_size(height, width)
        # At its final size an image is only normalised.
        pixels = preprocessing(_shrunk(rows, height, band, size, preprocessing))
    else:
        pixels = preprocessing(to_tensor(rows(0, height)))
    return np.ascontiguousarray(pixels.numpy(), dtype=np.float32)


def shrunk(view: np.ndarray, preprocessing: Preprocessing) -> torch.Tensor:
    """``preprocessing`` of an image in memory, (H, W, 3) uint8 to (3, h, w) float32."""
    height, width = view.shape[:2]
    pixels = network_input(lambda top, bottom: view[top:bottom], height, width, preprocessing)
    return torch.from_numpy(pixels)


def _shrunk(
    rows: Callable[[int, int], np.ndarray],
    height: int,
    band: int,
    size: tuple[int, int],
    preprocessing: Preprocessing,
) -> torch.Tensor:
    narrow = torch.empty(1, 3, height, size[1])
    for top in range(0, height, band):
        bottom = min(top + band, height)
        piece = to_tensor(rows(top, bottom))[None]
        narrow[:, :, top:bottom] = preprocessing.resized(piece, (bottom - top, size[1]))
    return preprocessing.resized(narrow, size)[0]
