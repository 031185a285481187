"""Transforms of descriptors before the search, named like FAISS indexes: ``PCAW512,L2norm,Flat``.

``L2norm`` normalises, ``PCA<d>`` subtracts the mean of the training descriptors and keeps d directions
(all of them: centring, as a rotation keeps distances), ``PCAW<d>`` also divides by their deviations
(whitening). ``NES<factor>x<k>`` subtracts factor x the mean of the k nearest training descriptors, which are
smoothed first, and normalises; ``NES0.35x10`` is that of ISC21's first place. ``Flat`` ends every name: the
search is exact.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np

from active_indexing.descriptors.postprocessing import fit_postprocessing
from active_indexing.evaluation.protocols.negative_subtraction import smoothed, without_negatives

Transform = Callable[[np.ndarray], np.ndarray]

UNIT_TOLERANCE = 0.01
"""Mean distance of norms from 1 below which descriptors count as normalised (SSCD's evaluation)."""

_STEP = re.compile(
    r"L2norm|PCA(?P<whiten>W?)(?P<dim>[1-9]\d*)|NES(?P<factor>\d+(?:\.\d+)?)x(?P<neighbours>[1-9]\d*)"
)


def default_codecs(descriptors: np.ndarray) -> tuple[str, ...]:
    """The codecs that SSCD's evaluation tries: plain and whitened, and with L2 where norms are not 1.

    Args:
        descriptors: (N, D) floats.
    """
    dim = descriptors.shape[1]
    norms = np.linalg.norm(descriptors, axis=1)
    if np.abs(norms - 1).mean() < UNIT_TOLERANCE:
        return "Flat", f"PCAW{dim},L2norm,Flat"
    return "Flat", "L2norm,Flat", f"PCAW{dim},L2norm,Flat", f"L2norm,PCAW{dim},Flat"


def fit_codec(name: str, training: np.ndarray | None) -> Transform:
    """Fit a codec.

    Args:
        name: e.g. ``PCAW256,L2norm,Flat``.
        training: (T, D) floats; ``None`` only for codecs without PCA.

    Returns:
        A function from (N, D) to (N, K) float32.

    Raises:
        ValueError: an unknown name, or training descriptors that are absent or too few.
    """
    *steps, last = name.split(",")
    matches = [_STEP.fullmatch(step) for step in steps]
    if last != "Flat" or not all(matches):
        raise ValueError(
            f"codec {name!r}: expected steps L2norm, PCA<d>, PCAW<d> or NES<factor>x<k>, and Flat at the end."
        )
    transforms: list[Transform] = []
    for match in matches:
        assert match is not None
        if match[0] != "L2norm" and training is None:
            raise ValueError(f"codec {name!r} is fitted to training descriptors; give some.")
        transform = _step(match, training)
        transforms.append(transform)
        training = None if training is None else transform(training)
    return lambda descriptors: _through(transforms, descriptors)


def _step(match: re.Match[str], training: np.ndarray | None) -> Transform:
    if match[0] == "L2norm":
        return _l2norm
    assert training is not None  # checked by the caller
    if match["factor"]:
        factor, neighbours = float(match["factor"]), int(match["neighbours"])
        negatives = smoothed(_l2norm(training), neighbours)
        return partial(_without, negatives=negatives, factor=factor, neighbours=neighbours)
    return _pca(training, match)


def _without(rows: np.ndarray, *, negatives: np.ndarray, factor: float, neighbours: int) -> np.ndarray:
    return without_negatives(_l2norm(rows), negatives, factor=factor, neighbours=neighbours)


def _through(transforms: list[Transform], descriptors: np.ndarray) -> np.ndarray:
    for transform in transforms:
        descriptors = transform(descriptors)
    if transforms and not np.isfinite(descriptors).all():
        raise ValueError("the codec gives values that are not finite.")
    return descriptors


def _l2norm(descriptors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(descriptors, axis=1, keepdims=True)
    return (descriptors / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)


def _pca(training: np.ndarray | None, match: re.Match[str]) -> Transform:
    assert training is not None
    power = 0.5 if match["whiten"] else 0.0
    fitted = fit_postprocessing(training, descriptor="codec", dim=int(match["dim"]), power=power)
    mean, projection = fitted.mean.numpy(), fitted.projection.numpy()
    return lambda descriptors: (descriptors - mean).astype(np.float32) @ projection.T
