from __future__ import annotations

import re

import pytest

from active_indexing.cli import doctor, main


def test_on_this_machine_a_release_can_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor"]) == 0
    told = capsys.readouterr().out
    for name in (*doctor.NEEDED, *doctor.OPTIONAL, "libmagic", "HEIC", "machine"):
        assert re.search(rf"^(ok|-) +{name} +\S", told, flags=re.MULTILINE), name
    assert "60,000 references" in told
    assert told.endswith("a release can run.\n")


def test_what_is_missing_is_told_and_leaves_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent() -> str:
        raise FileNotFoundError("the default descriptor is missing\nfrom this installation")

    monkeypatch.setitem(doctor.NEEDED, "assets", absent)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert main.main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "missing  assets      the default descriptor is missing from this installation\n" in told
    assert "not there: pip install 'active-indexing[attacks]' brings it" in told
    assert "a release cannot run" in told.splitlines()[-1]
