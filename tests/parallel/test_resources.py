from __future__ import annotations

import pytest

from active_indexing.parallel.resources import device_for


def test_the_device_is_the_one_asked_for() -> None:
    assert device_for("cpu").type == "cpu"
    assert device_for(None).type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["meta", "hpu", "privateuseone", "vulkan", "abacus", "", "cpux"])
def test_a_device_that_computes_nothing_is_refused(name: str) -> None:
    expected = rf"--device must be one of cpu, cuda, mps, xpu \(cuda:1 is the second\), got '{name}'"
    with pytest.raises(ValueError, match=expected):
        device_for(name)


@pytest.mark.parametrize("name", ["cuda:99", "cpu:x", "cpu:-2"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"--device {name} can't be used here: .*; leave it out"):
        device_for(name)
