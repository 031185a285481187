"""Names to things, from here and from elsewhere."""

from __future__ import annotations

import math
from importlib.metadata import EntryPoint

import pytest

from active_indexing import registry
from active_indexing.registry import Registry


def number(thing: object) -> float:
    if not isinstance(thing, float):
        raise TypeError(f"it is a {type(thing).__name__}; expected a number")
    return thing


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> Registry[float]:
    points = [
        EntryPoint("tau", "math:tau", "active_indexing.numbers"),
        EntryPoint("one", "math:pi", "active_indexing.numbers"),
        EntryPoint("gone", "no_such_module:x", "active_indexing.numbers"),
        EntryPoint("floor", "math:floor", "active_indexing.numbers"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: [p for p in points if p.group == group])
    return Registry("number", {"one": 1.0}, group="active_indexing.numbers", accept=number)


def test_own_things_come_first_and_a_plugin_never_hides_one(numbers: Registry[float]) -> None:
    assert list(numbers) == ["one", "tau", "gone", "floor"]
    assert len(numbers) == 4
    assert numbers["one"] == 1.0
    assert numbers["tau"] == math.tau
    assert "tau" in numbers
    assert "math:e" not in numbers


def test_a_module_and_a_name_stand_for_what_is_in_no_list(numbers: Registry[float]) -> None:
    assert numbers["math:e"] == math.e


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "two",
            "unknown number 'two'; choose one of one, tau, gone, floor, or module:name for one of your own",
        ),
        ("gone", "the number 'gone' can't be used: No module named 'no_such_module'"),
        ("floor", "the number 'floor' can't be used: it is a builtin_function_or_method; expected a number"),
        ("math:nothing", "the number 'math:nothing' can't be used: module 'math' has no attribute 'nothing'"),
        (":", "the number ':' can't be used"),
        ("math:", "the number 'math:' can't be used"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    numbers: Registry[float], name: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        numbers[name]
