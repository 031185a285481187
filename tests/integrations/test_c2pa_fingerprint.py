from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_indexing.integrations.c2pa_fingerprint import (
    ALGORITHM,
    Fingerprint,
    FingerprintError,
    for_query,
    from_query,
    parse,
)

BY_HAND = "active-indexing:1:0123456789abcdef:ADwAAA"
"""(1, 0): 1 is 0x3c00 as half float, so the bytes are 00 3c 00 00."""


def test_the_text_by_hand() -> None:
    fingerprint = Fingerprint.of("0123456789abcdef" * 4, np.array([1.0, 0.0], np.float32))
    assert fingerprint.text() == BY_HAND
    assert parse(BY_HAND).vector.tolist() == [1.0, 0.0]
    assert base64.b64decode(for_query(fingerprint)).decode() == BY_HAND


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_a_text_and_a_vector_are_one(dim: int, seed: int) -> None:
    vector = np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    fingerprint = Fingerprint.of("f" * 64, vector / np.linalg.norm(vector))
    for sent in (for_query(fingerprint), for_query(fingerprint).rstrip("=")):
        again = from_query(sent)
        assert again.text() == fingerprint.text()
        np.testing.assert_array_equal(again.vector, fingerprint.vector)
    url = base64.urlsafe_b64encode(fingerprint.text().encode()).decode()
    assert from_query(url).descriptor == "f" * 16


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not of the form active-indexing:1:"),
        (BY_HAND.replace(":1:", ":2:"), "not of the form active-indexing:1:"),
        (BY_HAND.replace("a", "A", 1), "not of the form"),
        (BY_HAND + "=", "not of the form"),
        (BY_HAND + "\n", "not of the form"),
        (BY_HAND[:-1] + "B", "not canonical"),
        (BY_HAND[:-6] + "AAAAAA", "has the length 0 instead of 1"),
        (BY_HAND[:-6] + "AH4AAA", "has the length nan instead of 1"),
        (BY_HAND[:-6] + "ADwA", "holds 3 bytes"),
        (BY_HAND[:-6] + "A" * 12_000, "holds 9000 bytes"),
    ],
)
def test_any_other_text_is_refused(text: str, told: str) -> None:
    with pytest.raises(FingerprintError, match=told):
        parse(text)


@pytest.mark.parametrize("sent", ["%", "ä", "AAAA", "aGVsbG8", base64.b64encode(b"\xff\xff").decode()])
def test_what_is_no_base64_of_a_text_is_refused(sent: str) -> None:
    with pytest.raises(FingerprintError, match="the value is not"):
        from_query(sent)


def test_the_name_is_one_for_the_list() -> None:
    domain, *rest = ALGORITHM.split(".")
    assert domain.isalpha()
    assert all(part.replace("-", "").isalnum() for part in rest)
    assert rest[-1] == BY_HAND.split(":")[1], "name and text have one version"
