from __future__ import annotations

from pathlib import Path

import pytest

from active_indexing.service.config import ServiceConfig


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("192.168.0.7", False), ("example.org", False)],
)  # fmt: skip
def test_loopback_is_known(host: str, local: bool) -> None:
    assert ServiceConfig(host=host).is_local is local


def test_names_are_those_of_loopback_or_those_that_were_given() -> None:
    assert ServiceConfig().names == {"localhost", "127.0.0.1", "[::1]"}
    assert ServiceConfig(host="0.0.0.0").names == frozenset()
    named = ServiceConfig(host="0.0.0.0", allowed_hosts="Match.example.org, other").names
    assert {"match.example.org", "other", "localhost"} <= named


def test_tokens_lie_in_the_store_unless_told_otherwise() -> None:
    assert ServiceConfig().tokens_path(Path("store")) == Path("store/tokens.json")
    assert ServiceConfig(tokens=Path("t.json")).tokens_path(Path("store")) == Path("t.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", -1), ("port", 65_536), ("processes", 0), ("max_mb", 0), ("max_megapixels", 101),
     ("concurrent", 0), ("upload_seconds", 0), ("queue_seconds", 0)],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"--{name} must be at (least|most)"):
        ServiceConfig(**{name: value})
