"""The fingerprint of an image as text: the value of a C2PA soft binding, with a version, in one form only.

    active-indexing:1:<descriptor>:<values>

``<descriptor>`` is the beginning of the fingerprint of the network that described the image, 16 hexadecimal
digits: numbers of two networks have nothing to do with each other. ``<values>`` are the D coordinates of the
unit vector as IEEE 754 half floats, lowest byte first, in base64url (RFC 4648) without padding: 171
characters for 64 coordinates. These are the numbers that a store keeps, so nothing is lost between both.
Equal vectors have equal texts and the other way round: an assertion can be compared as text.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

import numpy as np

ALGORITHM = "org.active-indexing.descriptor.1"
"""Name for the list of soft binding algorithms of C2PA: a reversed domain, and the version of the text."""

VERSION = 1
PREFIX = f"active-indexing:{VERSION}:"
DIGITS = 16
"""Hexadecimal digits of the descriptor's fingerprint: two of a billion networks share them by chance with a
probability of 3 %."""

MOST_DIMENSIONS = 4096
LENGTH_TOLERANCE = 0.01
"""Of a unit vector in half floats; rounding moves the length by less than 0.001."""

_FORM = re.compile(rf"{re.escape(PREFIX)}([0-9a-f]{{{DIGITS}}}):([A-Za-z0-9_-]+)")


class FingerprintError(ValueError):
    """A text that is no fingerprint, or one of another network; says why."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What a soft binding says about an image.

    Attributes:
        descriptor: first digits of the fingerprint of the network.
        vector: (D,) float16, unit norm.
    """

    descriptor: str
    vector: np.ndarray

    @classmethod
    def of(cls, descriptor: str, vector: np.ndarray) -> Fingerprint:
        """From the fingerprint of a network and the (D,) float32 that it gave."""
        return cls(descriptor[:DIGITS], np.asarray(vector).astype("<f2"))

    def text(self) -> str:
        """The canonical text."""
        values = base64.urlsafe_b64encode(self.vector.astype("<f2").tobytes()).rstrip(b"=").decode()
        return f"{PREFIX}{self.descriptor}:{values}"


def parse(text: str) -> Fingerprint:
    """A fingerprint from its canonical text.

    Raises:
        FingerprintError: any other text.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise FingerprintError(f"the value is not of the form {PREFIX}<{DIGITS} digits>:<base64url>")
    content = _decoded(found[2])
    if len(content) % 2 or not 2 <= len(content) <= 2 * MOST_DIMENSIONS:
        raise FingerprintError(f"the value holds {len(content)} bytes, not two for each coordinate")
    vector = np.frombuffer(content, "<f2")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not abs(length - 1) <= LENGTH_TOLERANCE:  # also for not-a-number
        raise FingerprintError(f"the vector in the value has the length {length:.3g} instead of 1")
    fingerprint = Fingerprint(found[1], vector)
    if fingerprint.text() != text:
        raise FingerprintError("the value is not canonical: its last character says more than the bytes")
    return fingerprint


def from_query(value: str) -> Fingerprint:
    """A fingerprint from what the Resolution API is sent: its text in base64, of either alphabet.

    Raises:
        FingerprintError: anything else.
    """
    try:
        text = _decoded(value).decode("ascii")
    except UnicodeDecodeError:
        raise FingerprintError("the value is not the base64 of a fingerprint's text") from None
    return parse(text)


def for_query(fingerprint: Fingerprint) -> str:
    """The ``value`` with which the Resolution API is asked for a fingerprint: its text in base64."""
    return base64.b64encode(fingerprint.text().encode()).decode()


def _decoded(value: str) -> bytes:
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise FingerprintError("the value is not base64") from None
