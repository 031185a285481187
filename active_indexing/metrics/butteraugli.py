"""Butteraugli, by libjxl's ``butteraugli_main`` where it is installed (Debian: libjxl-devtools).

Jyrki Alakuijala and others, Google, 2016 on: a model of what the eye can tell apart at all. 1.0 is just
noticeable when looked for. It is the judge that nothing in this program minimises.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.io import imsave

from active_indexing.metrics.image_quality import check_pair

PROGRAM = "butteraugli_main"
PATIENCE = 600.0  # seconds; 12 megapixels take about 10


@dataclass(frozen=True)
class Butteraugli:
    """Distance of two images.

    Attributes:
        largest: of any place; local blotches show here.
        norm: 3-norm over all places.
    """

    largest: float
    norm: float


def installed() -> bool:
    """Whether ``butteraugli`` can be asked."""
    return shutil.which(PROGRAM) is not None


def butteraugli(reference: np.ndarray, released: np.ndarray) -> Butteraugli:
    """Distance of a released image from its source, at the program's default of 80 nits.

    Args:
        reference: (H, W, 3) uint8 sRGB.
        released: (H, W, 3) uint8 sRGB, of the same size.

    Raises:
        ValueError: the arrays are not two sRGB images of one size.
        FileNotFoundError: the program is not installed.
        RuntimeError: it could not compare them.
    """
    check_pair(reference, released)
    program = shutil.which(PROGRAM)
    if program is None:
        raise FileNotFoundError(f"{PROGRAM} is not installed; it is in Debian's package libjxl-devtools.")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("reference.ppm", "released.ppm")]
        for path, pixels in zip(paths, (reference, released), strict=True):
            imsave(
                path, pixels, check_contrast=False
            )  # PPM: compressing a PNG takes as long as looking at it
        done = subprocess.run(
            [program, *map(str, paths)], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    return parsed(done.stdout, done.stderr)


def parsed(answer: str, complaint: str = "") -> Butteraugli:
    """The two numbers of the program's answer: the largest distance, then ``3-norm: `` and the norm.

    Raises:
        RuntimeError: there are no such numbers in it.
    """
    found = re.fullmatch(r"\s*([0-9.e+-]+)\s+3-norm:\s*([0-9.e+-]+)\s*", answer)
    if found is None:
        raise RuntimeError(
            f"{PROGRAM} gave no distance but {answer.strip()!r} {complaint.strip()!r}; "
            "try it on the two images by hand, or uninstall it to do without."
        )
    return Butteraugli(float(found[1]), float(found[2]))
