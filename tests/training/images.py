"""Made-up training images: two-colour blobs that a network can tell apart in a few steps."""

import numpy as np
from PIL import Image


def made_up_images(count=48, edge=32, seed=0):
    """(N, 3, S, S) uint8: smooth random colour fields."""
    rng = np.random.default_rng(seed)
    fields = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        fields.append(np.asarray(coarse.resize((edge, edge), Image.Resampling.BICUBIC)).transpose(2, 0, 1))
    return np.stack(fields)


def write_folder(folder, count=48, edge=32, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(made_up_images(count, edge, seed)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{number:03d}.png")
    return folder
