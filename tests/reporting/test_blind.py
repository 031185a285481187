"""The page of the blind test: what is in it, and what its numbers mean."""

from __future__ import annotations

import base64
import io
import json
import re
from math import comb
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from active_indexing.cli import blind as command
from active_indexing.cli import main as command_line
from active_indexing.records import ManifestRow
from active_indexing.reporting import blind
from active_indexing.reporting.runs import Run
from tests.reporting.outputs import write_output

SIZE = (40, 700)  # wider than what is shown


def made(folder: Path, shift: int, photos: Path) -> Run:
    """A run of two photos, brightened by ``shift``, most at a known place; a third one was not changed."""
    rows = []
    (folder / "imgs").mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(50, 180, (*SIZE, 3)).astype(np.uint8)
        source = photos / f"{number}.png"
        photos.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(source)
        moved = pixels + np.uint8(shift * (number < 2))
        moved[:, 690:] += np.uint8(20 * (number < 2) * (shift > 0))
        Image.fromarray(moved).save(folder / "imgs" / f"{number}.png")
        psnr = 40.0 if number < 2 and shift else float("inf")
        rows.append(
            ManifestRow(
                number,
                str(source),
                f"imgs/{number}.png",
                "released",
                "",
                *SIZE[::-1],
                psnr=psnr,
                ssim=1.0,
                linf=0,
            )
        )
    return write_output(folder, active=shift > 0, manifest=rows)


def pairs_in(page: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(
        re.search(r"^const pairs = (.*);$", page.read_text(), re.MULTILINE)[1]  # type: ignore[index]
    )
    return [pair | {"name": Path(pair["name"]).name} for pair in found]


def pixels_of(url: str) -> np.ndarray:
    kind, _, content = url.partition(";base64,")
    assert kind == "data:image/webp"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_every_changed_image_is_there_with_its_very_pixels_where_it_changed_most(tmp_path: Path) -> None:
    run = made(tmp_path / "active", 3, tmp_path / "photos")
    page = tmp_path / "page.html"
    assert blind.write_blind_test(run, page) == 2
    shown = pairs_in(page)
    assert sorted(pair["name"] for pair in shown) == ["0.png", "1.png"]
    for pair in shown:
        source, released = (
            np.asarray(Image.open(root / pair["name"]))[:, 700 - blind.EDGE :]
            for root in (tmp_path / "photos", tmp_path / "active" / "imgs")
        )
        assert np.array_equal(pixels_of(pair["plain"]), source)
        assert np.array_equal(pixels_of(pair["activated"]), released)
        assert (pair["width"], pair["height"]) == (blind.EDGE, SIZE[0])


def test_the_page_needs_nothing_from_anywhere(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    blind.write_blind_test(made(tmp_path / "active", 3, tmp_path / "photos"), page)
    text = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", page.read_text())
    assert not re.search(r"https?:|//[a-z]|<link|src=", text)


def test_a_baseline_takes_the_place_of_the_inputs(tmp_path: Path) -> None:
    run = made(tmp_path / "active", 3, tmp_path / "photos")
    baseline = made(tmp_path / "passive", 0, tmp_path / "photos")
    gone = tmp_path / "passive" / "imgs" / "1.png"
    gone.unlink()
    for source in (tmp_path / "photos").iterdir():
        source.unlink()
    page = tmp_path / "page.html"
    assert blind.write_blind_test(run, page, baseline=baseline) == 1
    assert [pair["name"] for pair in pairs_in(page)] == ["0.png"]


def test_as_many_as_asked_for_and_the_seed_says_which(tmp_path: Path) -> None:
    run = made(tmp_path / "active", 3, tmp_path / "photos")
    page, names = tmp_path / "page.html", set()
    for seed in range(8):
        for _ in range(2):
            assert blind.write_blind_test(run, page, pairs=1, seed=seed) == 1
        first = pairs_in(page)[0]["name"]
        names.add(first)
    assert names == {"0.png", "1.png"}


def test_without_a_changed_image_there_is_no_test(tmp_path: Path) -> None:
    run = made(tmp_path / "passive", 0, tmp_path / "photos")
    with pytest.raises(ValueError, match="has no image that was changed: give the folder of an active run"):
        blind.write_blind_test(run, tmp_path / "page.html")
    with pytest.raises(ValueError, match="at least 1 pair, got 0"):
        blind.write_blind_test(run, tmp_path / "page.html", pairs=0)


def test_inputs_that_are_gone_are_told(tmp_path: Path) -> None:
    run = made(tmp_path / "active", 3, tmp_path / "photos")
    for source in (tmp_path / "photos").iterdir():
        source.unlink()
    with pytest.raises(ValueError, match="its inputs are gone or of other sizes"):
        blind.write_blind_test(run, tmp_path / "page.html")


@pytest.mark.parametrize("pairs", [1, 4, 20])
def test_chances_are_those_of_tossing_coins(pairs: int) -> None:
    counted = [sum(comb(pairs, k) for k in range(right, pairs + 1)) / 2**pairs for right in range(pairs + 1)]
    assert blind.chances(pairs) == pytest.approx(counted, rel=1e-12)


def test_the_command_writes_it_beside_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "active", 3, tmp_path / "photos")
    assert command.PAIRS == blind.PAIRS
    assert command_line.main(["blind", str(tmp_path / "active")]) == 0
    assert capsys.readouterr().out.strip() == f"the test of 2 pairs is {tmp_path / 'active' / 'blind.html'}"
    assert command_line.main(["blind", str(tmp_path / "photos")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
