import random

import numpy as np
import pytest
from PIL import Image


def made_up(width: int, height: int) -> Image.Image:
    """Colour ramps with a dark square and noise: no symmetry, every grey level."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:height, :width]
    ramps = [columns / max(1, width - 1), rows / max(1, height - 1), (rows + columns) / (width + height)]
    pixels = 255 * np.stack(ramps, axis=2) + rng.normal(0, 12, (height, width, 3))
    pixels[height // 5 : height // 3, width // 6 : width // 2] *= 0.3
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def photo() -> Image.Image:
    return made_up(323, 241)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def global_rngs_untouched():
    """Fails the test if a global random generator moved during it."""
    np.random.seed(3)
    random.seed(3)
    before = np.random.get_state(), random.getstate()
    yield
    after = np.random.get_state(), random.getstate()
    assert np.array_equal(before[0][1], after[0][1])
    assert before[0][2:] == after[0][2:]
    assert before[1] == after[1]
