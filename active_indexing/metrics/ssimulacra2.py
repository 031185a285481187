"""SSIMULACRA2: how much of a change people see, from 100 (none) downwards.

Jon Sneyers, Cloudinary, 2022-2023, version 2.1, as libjxl 0.11 computes it: errors of structural similarity
and of edges in six scales of the XYB colour space, weighed by a fit to opinions about compressed pictures.
Its author's anchors: 90 is visually lossless at one pixel per 1/60 degree, 70 high, 50 medium quality.

Above ``SAMPLED`` pixels every n-th band of rows of a scale stands for all; everything else is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from active_indexing.metrics.image_quality import check_pair
from active_indexing.metrics.srgb import LINEAR

SCALES = 6
LEAST_EDGE = 8  # pixels; a smaller scale is not halved any more
SAMPLED = 1_500_000  # pixels of a scale that are looked at, about; 12 megapixels then take 1/8 of the time
_BAND_PIXELS = 1 << 14  # of a band: its planes fit into the processor's cache

SIMILARITY_C2 = 0.0009  # of structural similarity, libjxl tools/ssimulacra2.cc
BLUR_SIGMA = 1.5  # same

# XYB, libjxl lib/jxl/cms/opsin_params.h.
_ABSORBANCE = np.array(
    [
        (0.30, 0.622, 0.078),
        (0.23, 0.692, 0.078),
        (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
    ],
    np.float32,
)
_BIAS = np.float32(0.0037930732552754493)
_X_GAIN, _X_SHIFT, _Y_SHIFT, _B_SHIFT = 14.0, 0.42, 0.01, 0.55  # all planes positive, of one range

# libjxl tools/ssimulacra2.cc, version 2.1; in this order also where a small image has fewer scales.
_WEIGHTS = np.array((
    # X; a line per scale: (structure, new edges, lost edges) of the mean, then of the 4-norm
    0, 0.0007376606707406586, 0, 0, 0.0007793481682867309, 0,
    0, 0.0004371155730107379, 0, 1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,
    0, 0.0016406437456599754, 0, 1.8422455520539298, 11.441172603757666, 0,
    0.0007989109436015163, 0.000176816438078653, 0, 1.8787594979546387, 10.94906990605142, 0,
    0.0007289346991508072, 0.9677937080626833, 0, 0.00014003424285435884, 0.9981766977854967,
    0.00031949755934435053,
    0.0004550992113792063, 0, 0, 0.0013648766163243398, 0, 0,
    # Y; a line per scale: (structure, new edges, lost edges) of the mean, then of the 4-norm
    0, 0, 0, 7.466890328078848, 0, 17.445833984131262,
    0.0006235601634041466, 0, 0, 6.683678146179332, 0.00037724407979611296, 1.027889937768264,
    225.20515300849274, 0, 0, 19.213238186143016, 0.0011401524586618361, 0.001237755635509985,
    176.39317598450694, 0, 0, 24.43300999870476, 0.28520802612117757, 0.0004485436923833408,
    0, 0, 0, 34.77906344483772, 44.835625328877896, 0,
    0, 0, 0, 0, 0, 0,
    # B; a line per scale: (structure, new edges, lost edges) of the mean, then of the 4-norm
    0, 0.0008680556573291698, 0, 0, 0, 0,
    0, 0.0005313191874358747, 0, 0.00016533814161379112, 0, 0,
    0, 0, 0, 0.0004179171803251336, 0.0017290828234722833, 0,
    0.0020827005846636437, 0, 0, 8.826982764996862, 23.19243343998926, 0,
    95.1080498811086, 0.9863978034400682, 0.9834382792465353, 0.0012286405048278493, 171.2667255897307,
    0.9807858872435379,
    0, 0, 0, 0.0005130064588990679, 0, 0.00010854057858411537,
))  # fmt: skip


def ssimulacra2(reference: np.ndarray, released: np.ndarray) -> float:
    """Perceived quality of a released image.

    Args:
        reference: (H, W, 3) uint8 sRGB.
        released: (H, W, 3) uint8 sRGB, of the same size.

    Returns:
        At most 100, for equal images; also 100 where an edge is shorter than ``LEAST_EDGE`` pixels, since
        there is no scale to look at. Bad images go below 0.

    Raises:
        ValueError: the arrays are not two sRGB images of one size.
    """
    check_pair(reference, released)
    if np.array_equal(reference, released):
        return 100.0
    pair = np.stack([LINEAR[reference], LINEAR[released]])
    errors = []
    for scale in range(SCALES):
        if min(pair.shape[1:3]) < LEAST_EDGE:
            break
        pair = _halved(pair) if scale else pair
        errors.append(_errors(pair))
    return _score(errors)


def _score(errors: list[np.ndarray]) -> float:
    """Weighed sum of (3 channels, 2 norms, 3 maps) per scale, on the scale of opinions."""
    listed = np.stack(errors, axis=1).ravel() if errors else np.zeros(0)
    error = 0.9562382616834844 * float(listed @ _WEIGHTS[: len(listed)])
    error = 2.326765642916932 * error - 0.020884521182843837 * error**2 + 6.248496625763138e-05 * error**3
    return 100.0 - 10.0 * max(error, 0.0) ** 0.6276336467831387


def _errors(pair: np.ndarray) -> np.ndarray:
    """Mean and 4-norm of the three error maps of one scale.

    Args:
        pair: (2, H, W, 3) float32 linear RGB.

    Returns:
        (3, 2, 3) float64: channel, norm, map.
    """
    height, width = pair.shape[1:3]
    every = max(1, round(height * width / SAMPLED))
    sums, places = np.zeros((3, 2, 3)), 0
    for rows in islice(_bands(height, width), every // 2, None, every):
        planes = np.stack([_xyb(image) for image in _framed(pair, rows)])
        maps = _error_maps(planes)
        for number, error in enumerate(maps):
            squares = np.square(error)
            sums[:, 0, number] += error.sum(axis=(1, 2), dtype=np.float64)
            sums[:, 1, number] += np.square(squares, out=squares).sum(axis=(1, 2), dtype=np.float64)
        places += maps[0][0].size
    means = sums / places
    means[:, 1] **= 0.25
    return means


def _bands(height: int, width: int) -> Iterator[slice]:
    step = min(height, max(4 * len(_KERNEL), _BAND_PIXELS // width))
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def _framed(pair: np.ndarray, rows: slice) -> np.ndarray:
    """(2, rows + 2 radius, W, 3) of a band and the rows above and below it; ``nan`` outside the image."""
    radius, height = len(_KERNEL) - 1, pair.shape[1]
    top, bottom = rows.start - radius, rows.stop + radius
    found = pair[:, max(top, 0) : bottom]
    above, below = max(-top, 0), max(bottom - height, 0)
    return np.pad(found, ((0, 0), (above, below), (0, 0), (0, 0)), constant_values=np.nan)


def _xyb(linear: np.ndarray) -> np.ndarray:
    """(H, W, 3) linear RGB to (3, H, W) planes X, Y, B, all positive; 0 where there is no image."""
    cones = np.cbrt(np.einsum("hwc,kc->khw", linear, _ABSORBANCE, optimize=True) + _BIAS) - np.cbrt(_BIAS)
    x, y = (cones[0] - cones[1]) / 2, (cones[0] + cones[1]) / 2
    planes = np.stack([_X_GAIN * x + _X_SHIFT, y + _Y_SHIFT, cones[2] - y + _B_SHIFT])
    return np.nan_to_num(planes, copy=False)


def _error_maps(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Structural error, new edges, lost edges of a band.

    Args:
        planes: (2, 3, h + 2 radius, W) reference and released.

    Returns:
        Three times (3, h, W).
    """
    one, two = planes
    mean_one, mean_two = _blurred(one), _blurred(two)
    both = 1.0 - np.square(mean_one - mean_two)
    covariance = _blurred(one * two) - mean_one * mean_two
    variances = _blurred(one * one + two * two) - mean_one * mean_one - mean_two * mean_two
    structure = 1.0 - both * (2 * covariance + SIMILARITY_C2) / (variances + SIMILARITY_C2)
    inside = slice(len(_KERNEL) - 1, planes.shape[2] - len(_KERNEL) + 1)
    edges = (1.0 + np.abs(two[:, inside] - mean_two)) / (1.0 + np.abs(one[:, inside] - mean_one)) - 1.0
    return np.maximum(structure, 0.0), np.maximum(edges, 0.0), np.maximum(-edges, 0.0)


def _halved(pair: np.ndarray) -> np.ndarray:
    """(2, H, W, 3) to half its edges, rounded up; means of 2 x 2 pixels, the last row or column doubled."""
    height, width = pair.shape[1:3]
    if height % 2 or width % 2:
        pair = np.pad(pair, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rows = pair[:, ::2] + pair[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4


def _blurred(planes: np.ndarray) -> np.ndarray:
    """(3, h + 2 radius, W) to (3, h, W); zeros lie left and right of the image."""
    radius = len(_KERNEL) - 1
    last, width = planes.shape[1] - radius, planes.shape[2]
    down = _KERNEL[0] * planes[:, radius:last]
    for k in range(1, radius + 1):
        down += _KERNEL[k] * (
            planes[:, radius - k : last - k] + planes[:, radius + k : planes.shape[1] - radius + k]
        )
    across = _KERNEL[0] * down
    for k in range(1, min(radius, width - 1) + 1):
        across[:, :, k:] += _KERNEL[k] * down[:, :, :-k]
        across[:, :, :-k] += _KERNEL[k] * down[:, :, k:]
    return across


def _kernel(sigma: float) -> np.ndarray:
    """Right half, from the centre on, of the truncated cosine sum that libjxl takes for a Gaussian.

    Charalampidis, "Recursive implementation of the Gaussian filter using truncated cosine functions" (IEEE
    Transactions on Signal Processing, 2016), with K = 3; the numbers are those of its equations.
    """
    radius = round(3.2795 * sigma + 0.2546)  # (57)
    omega = np.array([1, 3, 5]) * np.pi / (2 * radius)  # table I
    p = np.array([1, -1, 1]) / np.tan(omega / 2)  # (37)
    r = np.array([1, -1, 1]) * np.square(p) / np.sin(omega)  # (44)
    rho = np.exp(-0.5 * sigma**2 * np.square(omega)) / radius  # (50)
    zeta = np.cross(p, r)  # (52), up to its length
    zeta /= zeta[2]
    beta = np.linalg.solve(
        np.stack([p, r, zeta]), np.array([1.0, radius**2 - sigma**2, float(zeta @ rho)])
    )  # (53) to (55)
    return (beta @ np.cos(omega[:, None] * np.arange(radius))).astype(np.float32)  # 0 at the radius


_KERNEL = _kernel(BLUR_SIGMA)
