"""The bench of the service runs, and its figures hold what they say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="pip install 'active-indexing[service]' brings it")

from active_indexing.query.answers import Answer, Found
from scripts import bench_service
from scripts.benches import faults
from scripts.benches.load import Costs, cpu_seconds
from tests.conftest import pattern


@pytest.mark.slow
def test_a_service_is_loaded_and_hurt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WARM_SECONDS", "SLOW_SECONDS", "LAST_SECONDS"):
        monkeypatch.setattr(bench_service, name, 0.5)
    monkeypatch.setattr(bench_service, "WRONG_TOKENS", 20)
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for n in range(3):
        Image.fromarray(pattern(rng, 90, 120)).save(tmp_path / "photos" / f"{n}.png")
    words = ["--photos", tmp_path / "photos", "--images", 40, "--processes", 1, "--clients", 3,
             "--seconds", 2, "--broken", 40, "--output", tmp_path / "figures.json"]  # fmt: skip
    assert bench_service.main([str(word) for word in words]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert json.loads(capsys.readouterr().out) == figures
    assert list(figures["answers"]) == ["200"]
    assert figures["wrong"] == 0
    assert 0 < figures["p50 ms"] <= figures["p95 ms"] <= figures["p99 ms"]
    assert figures["CPU ms of a request"] > 0.5 * figures["of them exact work"] > 0
    told = figures["faults"]
    assert told["broken uploads"]["answers"] == {"422": 40}
    assert told["tokens"] == {"no token": {"401": 20}, "an unknown token": {"401": 20}}
    for part in ("slow clients", "in the end"):
        assert (list(told[part]["answers"]), told[part]["wrong"]) == (["200"], 0)


def test_an_answer_that_differs_is_seen() -> None:
    found = Found(7, "a.png", "a.jpg", 0.25, 0.9, 4.0)
    right = {"verdict": "match", "best": {"id": "7", "distance": 0.25}}
    assert bench_service._same(right, Answer("x", "match", found))
    for wrong in (
        None,
        right | {"verdict": "unsure"},
        right | {"best": {"id": "8", "distance": 0.25}},
        right | {"best": {"id": "7", "distance": 0.26}},
        right | {"best": None},
    ):
        assert not bench_service._same(wrong, Answer("x", "match", found))
    assert bench_service._same({"verdict": "no match", "best": None}, Answer("x", "no match"))


def test_broken_bodies_are_all_broken() -> None:
    from active_indexing.images.decoding import read_bytes
    from active_indexing.images.header import UnreadableImage
    from tests.service.worlds import png

    whole = png(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    for body in faults.broken_bodies([whole]):
        with pytest.raises(UnreadableImage):
            read_bytes(body)


def test_costs_are_those_of_a_process_and_its_children() -> None:
    begun = cpu_seconds(os.getpid())
    with Costs(os.getpid()) as costs:
        while cpu_seconds(os.getpid()) < begun + 0.2:
            pass
    assert costs.cpu == pytest.approx(0.2, abs=0.1)
    assert costs.memory[-1][1] > 10
    assert cpu_seconds(2**22) == 0
