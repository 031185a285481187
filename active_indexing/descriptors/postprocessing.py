"""Centring, PCA whitening and L2 normalisation, fitted once and kept beside a descriptor.

[PCAW] Jegou and Chum, "Negative evidences and co-occurences in image retrieval: the benefit of PCA and
whitening", ECCV 2012. SSCD reports its best numbers with it (FAISS codec ``PCAW512,L2norm``).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from active_indexing.artefacts.atomic import write_bytes, write_json
from active_indexing.artefacts.identity import sha256_file
from active_indexing.descriptors.hashing import hash_tensors

FORMAT = "active_indexing.postprocessing/1"
SUFFIX = ".postprocessing.npz"
CHUNK = 65536  # vectors in memory at a time
# Directions whose variance is below this share of the largest are noise of float32; whitening would blow
# them up to the size of the rest.
LEAST_VARIANCE = 1e-10


class Postprocessing(nn.Module):
    """Unit vectors (B, D) to unit vectors (B, K): subtract a mean, project, normalise.

    Gradients pass, so that activation can move an image through it.

    Attributes:
        descriptor: fingerprint of the descriptor it was fitted for.
        vectors: number of vectors it was fitted on.
        power: exponent of the variances that the projection divides by; 0.5 whitens, 0 only rotates.
    """

    mean: torch.Tensor
    projection: torch.Tensor

    def __init__(
        self, mean: torch.Tensor, projection: torch.Tensor, *, descriptor: str, vectors: int, power: float
    ) -> None:
        """Args: mean: (D,) float32; projection: (K, D) float32; the rest are the attributes."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("projection", projection)
        self.descriptor, self.vectors, self.power = descriptor, vectors, power

    @property
    def dim(self) -> int:
        """K, the length of what comes out."""
        return self.projection.shape[0]

    @property
    def name(self) -> str:
        """For the descriptor's name: ``whiten128``, or ``pca128`` without whitening."""
        return f"{'whiten' if self.power else 'pca'}{self.dim}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over mean and projection."""
        return hash_tensors(dict(self.named_buffers()))

    def forward(self, descriptors: torch.Tensor) -> torch.Tensor:
        """(B, D) float32 to (B, K) float32, unit norm."""
        return F.normalize((descriptors - self.mean) @ self.projection.T, dim=1)

    def apply_to(self, descriptors: np.ndarray) -> np.ndarray:
        """(N, D) float32, which may be memory-mapped, to (N, K) float32 of unit norm.

        Raises:
            ValueError: if D is not the dimension it was fitted for.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != len(self.mean):
            raise ValueError(
                f"post-processing fitted for D={len(self.mean)} got vectors of shape {descriptors.shape}; "
                "extract them with the descriptor it lies beside."
            )
        result = np.empty((len(descriptors), self.dim), np.float32)
        for start, chunk in _chunks(descriptors):
            block = torch.from_numpy(chunk.astype(np.float32))
            result[start : start + len(chunk)] = self(block.to(self.mean.device)).cpu().numpy()
        return result


def fit_postprocessing(
    descriptors: np.ndarray, *, descriptor: str, dim: int | None = None, power: float = 0.5
) -> Postprocessing:
    """Fit to vectors of images that are neither protected nor queries.

    Args:
        descriptors: (N, D) float32, N > K, may be memory-mapped.
        descriptor: fingerprint of the descriptor they come from.
        dim: K <= D directions of most variance; ``None`` keeps all.
        power: each direction is divided by its variance to this power; 0.5 makes all variances 1
            ([PCAW]), 0 leaves them, which with ``dim=None`` is centring alone.

    Raises:
        ValueError: if there are too few vectors, they are not finite, or vary in fewer directions than K.
    """
    count, width = descriptors.shape
    kept = width if dim is None else dim
    if not 1 <= kept <= width:
        raise ValueError(
            f"post-processing to {dim} dimensions needs descriptors of at least as many, got {width}."
        )
    if count <= kept:  # of their mean N descriptors differ in N - 1 directions at most
        raise ValueError(f"fitting {kept} directions needs more than {kept} descriptors, got {count}.")
    mean = sum(chunk.sum(axis=0, dtype=np.float64) for _, chunk in _chunks(descriptors)) / count
    scatter = np.zeros((width, width))
    for _, chunk in _chunks(descriptors):
        centred = chunk - mean
        scatter += centred.T @ centred
    if not np.isfinite(scatter).all():
        raise ValueError("some descriptors to fit post-processing on are not finite; extract them again.")
    variances, directions = np.linalg.eigh(scatter / count)
    variances, directions = variances[::-1][:kept], directions.T[::-1][:kept]
    usable = int((variances > LEAST_VARIANCE * variances[0]).sum())
    if usable < kept and power:
        raise ValueError(
            f"the descriptors vary in {usable} directions only, {kept} were asked for; "
            f"pass dim={usable} or less, or descriptors of more images."
        )
    # An eigenvector has no sign; the largest coordinate decides, so that equal data give equal files.
    peaks = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    projection = directions * np.sign(peaks) * (variances[:, None] ** -power if power else 1.0)
    return Postprocessing(
        torch.from_numpy(mean.astype(np.float32)),
        torch.from_numpy(projection.astype(np.float32)),
        descriptor=descriptor,
        vectors=count,
        power=power,
    )


def postprocessing_path(weights: Path) -> Path:
    """Where the post-processing of the descriptor in the file ``weights`` lies."""
    return weights.with_name(weights.name + SUFFIX)


def save_postprocessing(postprocessing: Postprocessing, path: Path) -> None:
    """Write the arrays to ``path`` and what they are to the ``.json`` beside it, both atomically."""
    content = io.BytesIO()
    np.savez(
        content,
        mean=postprocessing.mean.cpu().numpy(),
        projection=postprocessing.projection.cpu().numpy(),
    )
    write_bytes(path, content.getvalue())
    write_json(
        path.with_suffix(".json"),
        {
            "format": FORMAT,
            "descriptor": postprocessing.descriptor,
            "vectors": postprocessing.vectors,
            "power": postprocessing.power,
            "sha256": sha256_file(path),
        },
    )


def load_postprocessing(path: Path) -> Postprocessing:
    """Read what :func:`save_postprocessing` wrote.

    Raises:
        ValueError: if one of the two files is absent, damaged or not the other's.
    """
    beside = path.with_suffix(".json")
    try:
        about: dict[str, Any] = json.loads(beside.read_text())
        if about["format"] != FORMAT or about["sha256"] != sha256_file(path):
            raise ValueError("the two files do not belong together")
        with np.load(path, allow_pickle=False) as arrays:
            mean, projection = (torch.from_numpy(arrays[name]) for name in ("mean", "projection"))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"the post-processing {path} can't be read with {beside.name} beside it ({error}); "
            "fit it again, or remove both files to use the descriptor without it."
        ) from error
    return Postprocessing(
        mean,
        projection,
        descriptor=about["descriptor"],
        vectors=about["vectors"],
        power=about["power"],
    )


def _chunks(descriptors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(descriptors), CHUNK):
        yield start, np.asarray(descriptors[start : start + CHUNK])
