from __future__ import annotations

import math

import numpy as np
import pytest

from active_indexing.attacks.registry import default_attacks
from analysis.gains import SEEN, UNSEEN, familiarity, gain, gain_ratio, recall

PASSIVE = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=float)  # 5 of 16
PUBLISHED = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]], dtype=float)  # 7 of 16
OURS = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]], dtype=float)  # 9 of 16


def test_twice_the_published_gain_is_a_ratio_of_two() -> None:
    assert gain(OURS, PASSIVE, 200).value == pytest.approx(4 / 16)
    found = gain_ratio(OURS, PASSIVE, PUBLISHED, 200)
    assert found.value == pytest.approx(2.0)
    assert found.low < 2 < found.high


def test_the_published_method_gains_exactly_what_it_gains() -> None:
    found = gain_ratio(PUBLISHED, PASSIVE, PUBLISHED, 200)
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_arms_are_drawn_together() -> None:
    # Every image gains one copy in ours for each that it gains in the published arm: no draw can differ.
    twice = PASSIVE + 2 * np.eye(4)[[3, 3, 3, 3]] * np.array([[0], [1], [1], [0]])
    once = PASSIVE + np.eye(4)[[3, 3, 3, 3]] * np.array([[0], [1], [1], [0]])
    found = gain_ratio(twice, PASSIVE, once, 500)
    assert (found.value, found.low) == (2, 2)


def test_missing_copies_do_not_count() -> None:
    hits = np.array([[1, np.nan], [0, 1], [np.nan, 1]])
    assert recall(hits, 50).value == pytest.approx((0.5 + 1) / 2)


def test_a_ratio_to_no_gain_is_infinite_or_unknown() -> None:
    assert gain_ratio(OURS, PASSIVE, PASSIVE, 50).value == math.inf
    assert gain_ratio(OURS, PASSIVE, PASSIVE, 50).high == math.inf
    assert math.isnan(gain_ratio(PASSIVE, PASSIVE, PASSIVE, 50).value)


def test_arms_of_other_copies_are_refused() -> None:
    with pytest.raises(ValueError, match="a gain ratio compares the same copies"):
        gain_ratio(OURS[:2], PASSIVE, PUBLISHED, 50)


def test_every_attack_but_none_is_seen_or_unseen() -> None:
    names = {attack.name for attack in default_attacks()}
    assert {*SEEN, *UNSEEN} == names - {"none"}
    assert not set(SEEN) & set(UNSEEN)
    assert (familiarity("hue"), familiarity("jpeg"), familiarity("none")) == ("seen", "unseen", "")
