"""From an image or a fingerprint to the manifests that it may belong to: candidates, never endorsements."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from active_indexing.integrations.c2pa_fingerprint import Fingerprint, FingerprintError
from active_indexing.query.lookup import Lookup
from active_indexing.query.views import WHOLE
from active_indexing.store.manifests import manifest_ids

VERY_SAME = 100
"""Score of the very bytes of a released file or its source, and of the fingerprint that a manifest holds."""

ROUNDING = 1e-6
"""Squared distance of two fingerprints that are the same numbers, added up in another order."""


@dataclass(frozen=True)
class Match:
    """A manifest that a query may belong to.

    Attributes:
        manifest: its id.
        score: 0 to 100: 100 for the very same, else 100 times the similarity (cosine, less the handicap of a
            part of the query), rounded down, at most 99.
    """

    manifest: str
    score: int


def by_image(
    lookup: Lookup, pixels: np.ndarray, content: bytes, most: int, hint: Fingerprint | None = None
) -> list[Match]:
    """Manifests of the images that this one may be a copy of, best first.

    Args:
        lookup: an open store.
        pixels: (H, W, 3) uint8 sRGB.
        content: bytes of its file.
        most: matches wanted.
        hint: a fingerprint that came along, of the image before it was changed perhaps.
    """
    known = lookup.known_file(hashlib.sha256(content).hexdigest())
    if known is not None:
        return [
            Match(each, VERY_SAME) for each in manifest_ids(lookup.store.database, [known[0].id]).values()
        ]
    views = lookup.views_of(pixels)
    described, kinds = lookup.described(views), [view.kind for view in views]
    if hint is not None:
        described, kinds = np.concatenate([described, _vector(lookup, hint)]), [*kinds, WHOLE]
    return _matches(lookup, described, kinds, most)


def by_fingerprint(lookup: Lookup, fingerprint: Fingerprint, most: int) -> list[Match]:
    """Manifests of the images whose descriptor is near to this fingerprint, best first.

    Raises:
        FingerprintError: it was made by another network than the store's.
    """
    return _matches(lookup, _vector(lookup, fingerprint), [WHOLE], most)


def _vector(lookup: Lookup, fingerprint: Fingerprint) -> np.ndarray:
    own = lookup.store.contract.descriptor
    if not own["fingerprint"].startswith(fingerprint.descriptor) or len(fingerprint.vector) != own["dim"]:
        raise FingerprintError(
            f"the fingerprint was made by the network {fingerprint.descriptor}, and this store's is "
            f"{own['fingerprint'][: len(fingerprint.descriptor)]}"
        )
    vector = fingerprint.vector.astype(np.float32)[None]
    return vector / np.linalg.norm(vector)


def _matches(lookup: Lookup, described: np.ndarray, kinds: Sequence[str], most: int) -> list[Match]:
    likely = lookup.likely(lookup.candidates(described, kinds))
    manifests = manifest_ids(lookup.store.database, [one.id for one in likely])
    found = [(one, manifests[one.id]) for one in likely if one.id in manifests]
    scores = [
        VERY_SAME if one.distance < ROUNDING else max(0, min(VERY_SAME - 1, int(100 * one.score)))
        for one, _ in found
    ]
    return [Match(manifest, score) for (_, manifest), score in zip(found, scores, strict=True)][:most]
