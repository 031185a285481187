from __future__ import annotations

import csv
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import active_indexing
from active_indexing.activation.config import ActivationConfig
from active_indexing.config import configure
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.records import ManifestRow
from scripts import bench_activation
from scripts.benches import costs, outcomes
from scripts.benches.arms import passive_arm
from scripts.benches.costs import Cost, Pass, forward_share, peak_over_rest, recorded, seconds_of
from scripts.benches.outcomes import Outcome
from scripts.benches.tables import common_copies, summary_rows
from tests.conftest import Toy
from tests.runs import flags, settings_of, take_images

METHODS = ["published:psnr=none,iterations=2", "published", "robust:iterations=1,views=1,entry_views=1"]


def arguments(toy: Toy, tmp_path: Path, *more: str) -> list[str]:
    """A bench of four images, four attacked arms and no worker processes."""
    data = tmp_path / "photos"
    if not data.exists():
        take_images(toy, data, 4)
    settings = {
        "data_dir": data,
        "output_dir": tmp_path / "bench",
        "model_path": toy.model,
        "resize_size": toy.size,
        "fts_training_path": toy.training,
        "fts_reference_path": toy.references,
        "idx_dir": tmp_path / "indexes",
        "idx_factory": "IVF4,PQ4x4",
        "workers": 0,
        "cost_images": 0,
        "bootstrap": 20,
        "seed": 3,  # random chains that do not lose every picture
    }
    return [*flags(settings), "--methods", *METHODS, *more]


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def bench(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder above a finished bench."""
    root = tmp_path_factory.mktemp("bench")
    more = ["--nprobe", "1", "2", "--psnr", "42", "44", "--cost_images", "2", "--megapixels", "0.004"]
    assert bench_activation.main(arguments(toy, root, *more)) == 0
    return root


def test_every_arm_has_a_row_for_each_attack_and_nprobe(bench: Path) -> None:
    rows = table(bench / "bench", "bench_activation")
    assert list(rows[0]) == ["method", "psnr_asked", "nprobe", "attack", "attack_param", "kind", "n", "r@1"]
    arms = list(dict.fromkeys((row["method"], row["psnr_asked"]) for row in rows))
    expected = [("passive", ""), (METHODS[0], "")]
    assert arms == expected + [(method, psnr) for method in METHODS[1:] for psnr in ("42.0", "44.0")]
    assert len(rows) == 6 * 2 * 15
    assert {row["n"] for row in rows} == {"4"}
    assert {row["kind"] for row in rows if row["attack"] == "none"} == {""}


def test_the_summary_tells_recall_quality_and_the_gain_ratio(bench: Path) -> None:
    rows = table(bench / "bench", "bench_activation_summary")
    assert len(rows) == 6 * 2
    for row in rows:
        assert 0 <= float(row["recall_low"]) <= float(row["recall"]) <= float(row["recall_high"]) <= 1
        assert 0 <= float(row["uap"]) <= 1
        if row["psnr_asked"]:
            assert float(row["psnr"]) == pytest.approx(float(row["psnr_asked"]), abs=0.1)
            assert 0.9 < float(row["ssim_min"]) <= float(row["ssim"]) < 1
            assert float(row["linf"]) <= float(row["linf_max"])
        if row["method"] == "passive":
            assert (row["psnr"], row["gain_ratio"], float(row["gain"])) == ("", "", 0)
        if row["method"] == "published":
            assert row["gain_ratio"] in ("1.0", "")  # nothing when it gains nothing on four images
        if row["method"] == METHODS[0]:
            assert row["gain_ratio"] == ""  # the published spec was not run at this PSNR


def test_a_recall_is_the_mean_of_its_attacks(bench: Path) -> None:
    attacks = table(bench / "bench", "bench_activation")
    for row in table(bench / "bench", "bench_activation_summary"):
        same = [a for a in attacks if all(a[k] == row[k] for k in ("method", "psnr_asked", "nprobe"))]
        for kind, column in (("", "recall"), ("seen", "recall_seen"), ("unseen", "recall_unseen")):
            hits = [float(a["r@1"]) for a in same if not kind or a["kind"] == kind]
            assert float(row[column]) == pytest.approx(np.mean(hits))


def test_costs_are_told_per_method_and_size(bench: Path) -> None:
    rows = table(bench / "bench", "bench_activation_cost")
    assert [(row["method"], row["size"]) for row in rows] == [
        (method, size) for size in ("as it is", "0.004 MP") for method in METHODS
    ]
    counts = {row["method"]: (float(row["both_ways"]), float(row["forward"])) for row in rows}
    assert counts == {METHODS[0]: (2, 2), "published": (10, 2), METHODS[2]: (2, 5)}
    for row in rows:
        assert float(row["passes_s"]) > 0
        assert float(row["ratio"]) > 0
        parts = sum(float(row[f"{name}_s"]) for name in ("decode", "passes", "rest", "encode"))
        assert float(row["total_s"]) == pytest.approx(parts, abs=3e-4)
    assert all(float(row["megapixels"]) == pytest.approx(0.004, abs=5e-4) for row in rows[3:])


def test_page_and_figures_are_written(bench: Path) -> None:
    text = (bench / "bench" / "bench_activation.md").read_text()
    for told in ("4 images", "Seen: attacks", "Unseen: meme_format", "| passive |", "### Seconds per image"):
        assert told in text
    for name in ("recall_psnr", "recall_ssimulacra2", "seconds_megapixels"):
        assert (bench / "bench" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_again_does_nothing_twice(
    bench: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (bench / "bench").rglob("imgs/*")}
    tables = {path.name: path.read_text() for path in (bench / "bench").glob("*.csv")}

    def refuse(*_: object) -> None:
        raise AssertionError("done twice")

    for module, name in (
        (outcomes.ImageReleaser, "release"),
        (outcomes, "attack_pool"),
        (bench_activation, "measure"),
        (bench_activation, "forward_share"),
    ):
        monkeypatch.setattr(module, name, refuse)
    more = ["--nprobe", "1", "2", "--psnr", "42", "44", "--cost_images", "2", "--megapixels", "0.004"]
    assert bench_activation.main(arguments(toy, bench, *more)) == 0
    assert {path: path.stat().st_mtime_ns for path in (bench / "bench").rglob("imgs/*")} == before
    assert {path.name: path.read_text() for path in (bench / "bench").glob("*.csv")} == tables


def test_recall_and_uap_are_those_of_main(bench: Path, toy: Toy, tmp_path: Path) -> None:
    settings = settings_of(toy, bench / "indexes", data_dir=bench / "photos", output_dir=tmp_path / "run")
    settings |= {
        "seed": 3,
        "method": "published",
        "psnr": 44.0,
        "iterations": 10,
        "nprobe": 2,
        "kneighbors": 100,
    }
    content = active_indexing.run(configure(**settings)).content
    rows = table(bench / "bench", "bench_activation_summary")
    (row,) = (
        row for row in rows if [row["method"], row["psnr_asked"], row["nprobe"]] == ["published", "44.0", "2"]
    )
    assert float(row["recall"]) == pytest.approx(np.mean([each["r@1"] for each in content["retrieval"]]))
    assert float(row["psnr"]) == content["quality"]["psnr"]["mean"]
    assert float(row["uap"]) == pytest.approx(content["copy_detection"]["uAP"])


def test_queries_without_a_match_lower_uap(bench: Path, toy: Toy, tmp_path: Path) -> None:
    others = take_images(toy, tmp_path / "others", 12)
    more = ["--query_nonmatch_dir", str(others), "--methods", "published"]
    assert bench_activation.main(arguments(toy, tmp_path, *more)) == 0
    alone, beside = (
        {(row["method"], row["psnr_asked"], row["nprobe"]): float(row["uap"]) for row in rows}
        for rows in (table(folder / "bench", "bench_activation_summary") for folder in (bench, tmp_path))
    )
    assert (tmp_path / "bench" / "copies.npz").exists()
    both = alone.keys() & beside.keys()
    assert all(beside[arm] <= alone[arm] for arm in both)
    assert any(beside[arm] < alone[arm] for arm in both)


def test_jpeg_releases_are_beside_the_passive_jpeg_and_broken_files_left_out(
    toy: Toy, tmp_path: Path
) -> None:
    (take_images(toy, tmp_path / "photos", 4) / "broken.png").write_bytes(b"no image")
    more = ["--save_format", "jpeg", "--save_quality", "90", "--entries", "2", "--cost_images", "2"]
    more += ["--methods", "published", "--nprobe", "1"]
    assert bench_activation.main(arguments(toy, tmp_path, *more)) == 0
    assert [path.suffix for path in (tmp_path / "bench" / "passive" / "imgs").glob("*.*")] == [".jpg"] * 3
    rows = table(tmp_path / "bench", "bench_activation_summary")
    assert (rows[0]["psnr"], float(rows[0]["unchanged"])) == ("", 4)  # against the same encoding
    assert float(rows[1]["psnr"]) == pytest.approx(42, abs=0.2)
    assert {(row["images"], row["released"], row["skipped"]) for row in rows} == {("5", "4", "1")}
    assert {row["n"] for row in table(tmp_path / "bench", "bench_activation")} == {"4"}


def outcome(spec: str, psnr: float | None, hits: list[list[float]]) -> Outcome:
    arm = replace(passive_arm(), spec=spec, activation=ActivationConfig(psnr=psnr))
    return Outcome(arm, [], {1: np.array(hits, dtype=float).repeat(5, axis=1)}, {1: 0.5})


def test_a_gain_ratio_is_beside_the_published_method_at_the_same_psnr() -> None:
    outcomes = [
        outcome("passive", None, [[1, 0, 0], [0, 0, 0]]),
        outcome("published", 42, [[1, 1, 1], [0, 0, 0]]),
        outcome("published", 46, [[1, 1, 0], [0, 0, 0]]),
        outcome("robust", 42, [[1, 1, 1], [1, 1, 0]]),
        outcome("robust", 46, [[1, 1, 1], [0, 0, 0]]),
        outcome("robust", None, [[1, 1, 1], [1, 1, 1]]),
    ]
    rows = summary_rows(outcomes, 50, 0)
    ratios = [row["gain_ratio"] for row in rows]
    assert ratios[1:5] == pytest.approx([1, 1, 2, 2])
    assert math.isnan(ratios[0])
    assert math.isnan(ratios[5])
    assert rows[4]["gain_ratio_first"] == pytest.approx(1)  # at 46 dB the published gain at 42
    assert rows[5]["gain_ratio_first"] == pytest.approx(2.5)


def test_only_copies_that_every_arm_has_are_compared() -> None:
    first = outcome("passive", None, [[1, 0, 0], [0, 0, 0]])
    second = outcome("robust", 42, [[1, math.nan, 0], [1, 1, 1]])
    for each in common_copies([first, second]):
        assert np.isnan(each.hits[1]).tolist() == [[False] * 5 + [True] * 5 + [False] * 5, [False] * 15]


def test_calls_of_the_network_are_recorded_with_their_shapes(toy: Toy) -> None:
    config = DescriptorConfig(model_path=toy.model, resize_size=toy.size)
    descriptor = load_descriptor(config, torch.device("cpu"))
    with recorded(descriptor) as passes:
        descriptor(torch.rand(2, 3, 40, 50, requires_grad=True))
        with torch.no_grad():
            descriptor(torch.rand(3, 3, 40, 50, requires_grad=True))
    descriptor(torch.rand(1, 3, 40, 50))
    assert passes == [Pass((2, 3, 32, 32), True), Pass((3, 3, 32, 32), False)]
    assert seconds_of(passes, descriptor) > 0
    assert 0.1 < forward_share(descriptor) < 0.9


def test_the_ratio_leaves_decoding_and_encoding_out() -> None:
    cost = Cost(
        images=1, megapixels=1, decode=5, passes=2, rest=1, encode=7, both_ways=10, forward=2, peak_mib=None
    )
    assert cost.ratio == 1.5
    assert cost.count(0.4) == pytest.approx(10.8)
    assert Cost(**cost.stored()) == cost


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_peak_is_of_the_block_and_over_what_was_there() -> None:
    before = np.ones(60 * 2**20, np.uint8)
    with peak_over_rest() as peak:
        held = np.ones(40 * 2**20, np.uint8)
        assert held[-1] == before[-1]
        del held
    assert 35 < peak[0] < 60


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--images", "0"], "--images must be at least 1, got 0."),
        (["--bootstrap", "0"], "--bootstrap must be at least 1, got 0."),
        (["--nprobe", "1", "1"], "--nprobe takes different numbers above 0"),
        (["--megapixels", "-1"], "--megapixels takes different numbers above 0"),
        (["--save_quality", "90"], "--save_quality is for JPEG and WebP"),
    ],
)
def test_flags_that_do_not_fit_are_told_without_a_traceback(
    more: list[str], message: str, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_activation.main(arguments(toy, tmp_path, *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "bench").exists()


def test_an_output_folder_among_the_photos_is_refused(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = str(tmp_path / "photos" / "bench")
    assert bench_activation.main(arguments(toy, tmp_path, "--output_dir", inside)) == 2
    assert "lies in --data_dir: what is released would be an input" in capsys.readouterr().err


def test_a_cost_without_a_readable_image_is_an_error(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    config = DescriptorConfig(model_path=toy.model, resize_size=toy.size)
    descriptor = load_descriptor(config, torch.device("cpu"))
    parsed = bench_activation.build_parser().parse_args(arguments(toy, tmp_path))
    made = bench_activation._bench(parsed)
    with pytest.raises(ValueError, match="none of 1 images could be released"):
        costs.measure(made.config, made.sources, descriptor, made.index, workers=0)


def damaged(spec: str, hits: list[list[float]], ssimulacra2: float | None, **activation: Any) -> Outcome:
    made = outcome(spec, None, hits)
    row = ManifestRow(1, "a.png", "imgs/a.png", "released", ssimulacra2=ssimulacra2, butteraugli=None)
    return replace(made, arm=replace(made.arm, activation=ActivationConfig(**activation)), rows=[row])


def test_gains_are_compared_at_equal_damage_between_the_published_arms() -> None:
    """The published gain is 1/6 at a damage of 10 and 1/3 at 20, so 1/4 at 15."""
    passive = damaged("passive", [[1, 0, 0], [0, 0, 0]], 100.0)
    first = damaged("published", [[1, 1, 0], [0, 0, 0]], 90.0, method="published")
    second = damaged("published:scaling=6", [[1, 1, 1], [0, 0, 0]], 80.0, method="published", scaling=6.0)
    own = damaged("perceptual", [[1, 1, 1], [1, 0, 0]], 85.0)
    worse = damaged("perceptual:strength=strong", [[1, 1, 1], [1, 1, 1]], 70.0)
    rows = summary_rows([passive, first, second, own, worse], 20, 0)
    ratios = [row["gain_ratio_ssimulacra2"] for row in rows]
    assert ratios[1:4] == pytest.approx([1, 1, 2])
    assert math.isnan(ratios[0])
    assert math.isnan(ratios[4])  # no published arm is damaged as much
    assert all(math.isnan(row["gain_ratio_butteraugli"]) for row in rows)
