"""Runs from end to end on the toy world; killed ones: test_folder_release.py, odd images: test_release.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import active_indexing
from active_indexing.artefacts import csv_tables
from active_indexing.attacks import edits
from active_indexing.attacks.failure import AttackFailed
from active_indexing.cli import main
from active_indexing.images import decoding
from active_indexing.metrics import image_quality
from active_indexing.pipeline import RunSummary
from active_indexing.release import image
from tests.conftest import Toy
from tests.runs import flags, released, settings_of, stamps, tables, take_images

COUNT = 5


@pytest.fixture(scope="module")
def world(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few images to protect and two that are in no index."""
    folder = tmp_path_factory.mktemp("world")
    take_images(toy, folder / "photos", COUNT)
    (folder / "others").mkdir()
    for name in ("00.png", "01.png"):
        shutil.copy(toy.images / name, folder / "others" / name)
    return folder


@pytest.fixture(scope="module")
def quick(toy: Toy, world: Path) -> dict[str, Any]:
    return settings_of(toy, world / "indexes", query_nonmatch_dir=world / "others", batch_size_eval=3)


@pytest.fixture(scope="module")
def active(world: Path, quick: dict[str, Any]) -> RunSummary:
    return active_indexing.activate(world / "photos", world / "active", **quick)


@pytest.fixture(scope="module")
def passive(world: Path, quick: dict[str, Any]) -> RunSummary:
    return active_indexing.baseline(world / "photos", world / "passive", **quick)


def csv(summary: RunSummary, name: str) -> pd.DataFrame:
    return pd.read_csv(summary.output_dir / name)


def test_the_files_of_a_run(active: RunSummary) -> None:
    names = sorted(path.name for path in active.output_dir.iterdir())
    assert names == [
        ".journal", "failures.csv", "icd_df.csv", "imgs", "lost_copies.json", "manifest.csv",
        "references.csv", "retr_df.csv", "retr_passive_df.csv", "run.json", "run_log.jsonl",
    ]  # fmt: skip
    assert json.loads((active.output_dir / "run.json").read_text())["quality"] == active.content["quality"]


def test_the_log_has_every_image_in_every_stage(active: RunSummary) -> None:
    lines = (active.output_dir / "run_log.jsonl").read_text().splitlines()
    log = [json.loads(line) for line in lines]
    assert (log[0]["event"], log[0]["config"]["seed"]) == ("run_started", active.content["config"]["seed"])
    stages = [event["stage"] for event in log if event["event"] == "stage_started"]
    assert stages == ["prepare", "release", "baseline", "views", "evaluate", "finish"]
    images = [event for event in log if event["event"] == "image"]
    manifest = csv(active, "manifest.csv")
    told = {(each["image"], each["status"], each["reason"]) for each in images if each["stage"] == "release"}
    expected = zip(manifest["id"], manifest["status"], manifest["reason"].fillna(""), strict=True)
    assert told == set(expected)
    for stage in ("passive", "passive_retrieval", "retrieval"):
        assert {each["image"] for each in images if each["stage"] == stage} == set(manifest["id"])
    assert all(each["seconds"] >= 0 for each in images)
    failed = len(csv(active, "failures.csv"))
    assert sum(each.get("failed_attacks", 0) for each in images) == failed
    last = {"event": "run_ended", "status": "finished", "released": COUNT, "failed_attacks": failed}
    assert log[-1].items() >= last.items()


def test_retrieval_rows_are_blocks_of_images_then_attacks_then_images(active: RunSummary) -> None:
    table = csv(active, "retr_df.csv")
    ids = csv(active, "manifest.csv")["id"].tolist()
    table["attack_param"] = table["attack_param"].astype(object).fillna("")
    attacks = list(dict.fromkeys(zip(table["attack"], table["attack_param"], strict=True)))
    assert len(attacks) == 15
    assert [name for name, _ in attacks][:4] == ["none", "auto", "meme_format", "overlay_onto_screenshot"]
    failed = csv(active, "failures.csv").query("stage == 'retrieval'")
    lost = set(zip(failed["image_index"], failed["attack"], strict=True))
    expected = [
        (batch, id_, name, param)
        for batch, block in enumerate((ids[:3], ids[3:]))
        for name, param in attacks
        for id_ in block
        if (id_, name) not in lost
    ]
    columns = [table[name] for name in ("batch", "image_index", "attack", "attack_param")]
    assert list(zip(*columns, strict=True)) == expected
    assert len(table) + len(failed) == COUNT * 15


def test_copy_detection_has_every_image_once_and_the_others_after_them_with_their_own_batches(
    active: RunSummary,
) -> None:
    table = csv(active, "icd_df.csv")
    failed = csv(active, "failures.csv").query("stage == 'copy_detection'")
    assert len(table) + len(failed) == COUNT + 2
    found = [*table["image_index"], *failed["image_index"]]
    assert found.count(-1) == 2
    assert set(found) == {-1, *csv(active, "manifest.csv")["id"]}
    assert (table["image_index"] == -1).is_monotonic_increasing
    for batch in (table["batch"][table["image_index"] == -1], table["batch"][table["image_index"] != -1]):
        assert batch.tolist()[0] == 0
        assert batch.is_monotonic_increasing
    for name, chain in zip(table["attack"], table["attack_param"], strict=True):
        assert "+".join(edit["name"] for edit in json.loads(chain)) == name


def test_rows_say_what_the_lists_say(active: RunSummary) -> None:
    table = csv(active, "retr_df.csv")
    for row in table.to_dict("records"):
        ids = csv_tables.parse_id_cell(row["retrieved_indices"])
        distances = csv_tables.parse_list_cell(row["retrieved_distances"])
        assert len(ids) == len(distances) <= 20
        assert (np.diff(distances) >= 0).all()
        place = np.flatnonzero(ids == row["image_index"])
        if len(place):
            assert (row["rank"], row["ap"]) == (place[0], 1 / (place[0] + 1))
        else:
            assert np.isnan(row["rank"])
            assert row["ap"] == 0
        assert [row[f"r@{k}"] for k in (1, 10, 100)] == [
            int(len(place) > 0 and place[0] < k) for k in (1, 10, 100)
        ]
    assert table["rank"].isna().any()
    assert (table["rank"] == 0).any()


def test_references_are_named(active: RunSummary) -> None:
    named = csv(active, "references.csv")
    cells = csv(active, "retr_df.csv")["retrieved_indices"]
    assert set(named["id"]) >= {i for cell in cells for i in csv_tables.parse_id_cell(cell) if i < 2**62}
    assert (named["name"] == [f"reference_{i:04d}.jpg" for i in named["id"]]).all()


def test_the_manifest_is_measured_on_the_files_and_sorted_by_name(active: RunSummary) -> None:
    table = csv(active, "manifest.csv")
    assert len(table) == COUNT
    assert table["source"].tolist() == sorted(table["source"])
    for row in table.to_dict("records"):
        before = decoding.read(Path(row["source"])).native
        after = decoding.read(active.output_dir / row["released"]).native
        assert after.shape == before.shape == (row["height"], row["width"], 3)
        assert row["psnr"] == image_quality.psnr(before, after)
        assert row["ssim"] == image_quality.ssim(before, after)
        assert row["linf"] == image_quality.linf(before, after) > 0
        assert 0 <= row["cell_after"] < 4


def test_names_and_folders_of_the_inputs_are_kept(active: RunSummary, world: Path) -> None:
    names = {
        path.relative_to(world / "photos").with_suffix(".png") for path in (world / "photos").rglob("*.*")
    }
    assert {Path(name) for name in released(active.output_dir)} == names


def test_the_passive_arm_releases_the_same_pixels(passive: RunSummary, active: RunSummary) -> None:
    table = csv(passive, "manifest.csv")
    assert (table["psnr"] == np.inf).all()
    assert (table["linf"] == 0).all()
    assert (table["cell_before"] == table["cell_after"]).all()
    assert passive.content["quality"]["unchanged"] == COUNT
    ours, theirs = csv(passive, "retr_df.csv"), csv(active, "retr_df.csv")
    assert (ours["attack"].value_counts() == theirs["attack"].value_counts()).all()


def test_published_activation_pulls_the_unedited_copy_nearer_to_its_entry(
    world: Path, quick: dict[str, Any], passive: RunSummary
) -> None:
    def distances(summary: RunSummary) -> np.ndarray:
        table = csv(summary, "retr_df.csv").query("attack == 'none'")
        return table["retrieved_distances"].map(lambda cell: csv_tables.parse_list_cell(cell)[0]).to_numpy()

    active = active_indexing.activate(
        world / "photos", world / "published", **quick, method="published", eval_icd=False
    )
    assert (distances(active) < distances(passive)).all()


def test_run_json_tells_what_made_the_run(active: RunSummary) -> None:
    content = active.content
    assert content["config"]["activation"]["iterations"] == 2
    assert content["descriptor"]["dim"] == 64
    assert len(content["descriptor"]["fingerprint"]) == len(content["inputs"]["fingerprint"]) == 64
    assert content["index"]["entries"] == 500 + COUNT
    assert set(content["seconds"]) == {"prepare", "release", "baseline", "views", "evaluate"}
    assert content["versions"]["torch"]


def again(world: Path, quick: dict[str, Any], name: str, photos: Path | None = None, **more: Any) -> Path:
    output = world / name
    active_indexing.activate(photos or world / "photos", output, **(quick | more))
    return output


@pytest.mark.parametrize("more", [{"batch_size": 1, "workers": 1}, {"batch_size": 48, "workers": 2}], ids=str)
def test_batches_and_workers_change_nothing(
    world: Path, quick: dict[str, Any], active: RunSummary, more: dict[str, int]
) -> None:
    output = again(world, quick, f"workers_{more['workers']}", **more)
    assert tables(output) == tables(active.output_dir)
    assert released(output) == released(active.output_dir)


def test_the_order_in_which_files_were_made_changes_nothing(
    toy: Toy, world: Path, quick: dict[str, Any], active: RunSummary
) -> None:
    photos = take_images(toy, world / "backwards", COUNT, backwards=True)
    output = again(world, quick, "from_backwards", photos)
    assert tables(output, without_sources=True) == tables(active.output_dir, without_sources=True)
    assert released(output) == released(active.output_dir)


def test_another_seed_changes_random_attacks_and_the_optimisation_and_nothing_else(
    world: Path, quick: dict[str, Any], passive: RunSummary
) -> None:
    summary = active_indexing.baseline(world / "photos", world / "seed", **quick, seed=1)
    ours, theirs = csv(summary, "retr_df.csv"), csv(passive, "retr_df.csv")
    key = ["image_index", "attack", "attack_param"]
    both = ours.merge(theirs, on=key, suffixes=("", "_0"))
    same = (both["retrieved_distances"] == both["retrieved_distances_0"]).groupby(both["attack"]).mean()
    assert same.pop("auto") == 0
    assert (same == 1).all()
    chains = [set(csv(each, "icd_df.csv")["attack_param"]) for each in (summary, passive)]
    assert not chains[0] & chains[1]
    # So small a step leaves the random start, which so large a bound makes visible.
    bare = {"eval_retrieval": False, "eval_icd": False}
    visible = {"method": "published", "optimizer": "SGD,lr=1e-12", "scaling": 1e6, **bare}
    starts = [again(world, quick, f"start_{seed}", seed=seed, **visible) for seed in (0, 1)]
    drawn = [again(world, quick, f"drawn_{seed}", seed=seed, **bare) for seed in (0, 1)]
    for pair in (starts, drawn):
        assert all(zero != one for zero, one in zip(*(released(each).values() for each in pair), strict=True))


def test_which_attacks_run_changes_no_row_of_another(
    world: Path, quick: dict[str, Any], active: RunSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grid shares attacks with the list, and an attack that fails leaves the others as they are."""

    def refuse(image: object, **_: object) -> None:
        raise AttackFailed("not today")

    monkeypatch.setitem(edits_registry(), "hue", (refuse, ("hue_factor",)))
    output = again(world, quick, "grid", use_attacks_2=True, eval_icd=False)
    assert not (output / "icd_df.csv").exists()
    grid, rows = pd.read_csv(output / "retr_df.csv"), csv(active, "retr_df.csv")
    assert len(grid) == COUNT * (104 - 11)
    failed = pd.read_csv(output / "failures.csv")
    assert (failed["stage"].value_counts() == COUNT * 11).all()
    assert set(failed["stage"]) == {"retrieval", "passive_retrieval"}
    assert set(failed["reason"]) == {"not today"}
    assert set(failed["attack"]) == {"hue"}
    shared = ["image_index", "attack", "attack_param", "retrieved_distances", "retrieved_indices", "rank"]
    both = grid[shared].merge(rows[shared], on=shared[:3])
    assert len(both) == COUNT * 7
    assert (both["retrieved_distances_x"] == both["retrieved_distances_y"]).all()
    assert (both["retrieved_indices_x"] == both["retrieved_indices_y"]).all()


def edits_registry() -> dict:
    from active_indexing.attacks import registry

    assert registry._OWN["hue"][0] is edits.hue
    return registry._OWN


def test_inner_product_and_another_template(
    world: Path, quick: dict[str, Any], active: RunSummary, tmp_path: Path
) -> None:
    template = tmp_path / "frame.png"
    Image.fromarray(np.full((90, 120, 3), 200, dtype=np.uint8)).save(template)
    template.with_suffix(".json").write_text('{"frame.png": [10, 10, 100, 80]}')
    settings = quick | {"quant": "IP", "screenshot_template": str(template), "idx_factory": "Flat"}
    summary = active_indexing.baseline(world / "photos", tmp_path / "out", **settings)
    table = csv(summary, "retr_df.csv")
    for cell in table["retrieved_distances"]:
        assert (np.diff(csv_tables.parse_list_cell(cell)) <= 0).all()
    assert summary.content["copy_detection"]["uAP"] >= 0
    best = table.query("attack == 'none'")["retrieved_distances"].map(
        lambda c: csv_tables.parse_list_cell(c)[0]
    )
    assert best.to_numpy() == pytest.approx(1, abs=1e-5)
    manifest = csv(summary, "manifest.csv")
    assert manifest[["cell_before", "cell_after"]].isna().all(axis=None)

    content = template.with_suffix(".json").read_text().replace("10, 10", "40, 40")
    template.with_suffix(".json").write_text(content)  # another box: other screenshots
    active_indexing.baseline(world / "photos", tmp_path / "out", **settings)
    moved = csv(summary, "retr_df.csv").merge(table, on=["image_index", "attack", "attack_param"])
    same = (moved["retrieved_distances_x"] == moved["retrieved_distances_y"]).groupby(moved["attack"]).mean()
    assert same.pop("overlay_onto_screenshot") < 1
    assert (same == 1).all()


def test_without_evaluation_there_are_images_and_a_manifest(world: Path, quick: dict[str, Any]) -> None:
    output = again(world, quick, "bare", eval_retrieval=False, eval_icd=False, log_freq=2)
    assert sorted(path.name for path in output.glob("*.csv")) == [
        "failures.csv",
        "manifest.csv",
        "references.csv",
    ]
    steps = [json.loads(line) for line in (output / "activation_log.jsonl").read_text().splitlines()]
    assert [step["gd_it"] for step in steps] == [1] * COUNT
    assert {step["id"] for step in steps} == set(pd.read_csv(output / "manifest.csv")["id"])
    assert set(steps[0]) == {"id", "gd_it", "loss", "loss_f", "loss_i", "psnr", "linf", "lr"}


def test_without_save_imgs_the_csvs_are_the_same_and_nothing_is_made_twice(
    world: Path, quick: dict[str, Any], active: RunSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = again(world, quick, "unsaved", save_imgs=False)
    assert not (output / "imgs").exists()
    assert tables(output) == tables(active.output_dir)

    written = []
    write = image.write_bytes

    def watched(path: Path, content: bytes) -> None:
        if "imgs" in path.parts:  # not the files of the passive baseline, which are there for a moment
            written.append(path)
        write(path, content)

    monkeypatch.setattr(image, "write_bytes", watched)
    again(world, quick, "unsaved", save_imgs=False)
    assert not written
    assert tables(output) == tables(active.output_dir)

    again(world, quick, "unsaved", save_imgs=False, kneighbors=5)  # needs the images again
    assert len(written) == COUNT
    assert not (output / "imgs").exists()
    assert "gone" not in (output / "failures.csv").read_text()

    again(world, quick, "unsaved", save_imgs=True)
    assert released(output) == released(active.output_dir)
    assert tables(output) == tables(active.output_dir)


def test_debug_stops_after_six_batches(toy: Toy, world: Path, quick: dict[str, Any]) -> None:
    photos = take_images(toy, world / "eight", 8)
    settings = quick | {"debug": True, "batch_size": 1, "eval_retrieval": False, "eval_icd": False}
    summary = active_indexing.baseline(photos, world / "debug", **settings)
    assert summary.content["quality"]["released"] == 6


def test_a_diverged_optimisation_is_a_reason_not_an_end(world: Path, quick: dict[str, Any]) -> None:
    summary = active_indexing.activate(
        world / "photos",
        world / "diverged",
        **(quick | {"method": "published", "optimizer": "SGD,lr=1e38", "use_tanh": False, "lambda_i": 1e30}),
    )
    assert summary.content["quality"]["released"] == 0
    assert csv(summary, "manifest.csv")["reason"].str.contains("diverged").sum() == COUNT


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"data_dir": "missing"}, "no file or folder .*missing"),
        ({"query_nonmatch_dir": "missing"}, "no file or folder .*missing"),
        ({"query_nonmatch_dir": "empty"}, "no images in .*empty"),
        ({"data_dir": "empty"}, "no images in .*empty"),
        ({"screenshot_template": "missing.png"}, "no screenshot template 'missing.png'"),
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"target": "moon"}, "unknown target 'moon'"),
        ({"optimizer": "Sgdd,lr=1"}, "neither torch.optim nor timm.optim has 'Sgdd'"),
        ({"device": "abacus"}, "--device must be one of cpu, cuda.*got 'abacus'"),
        ({"idx_factory": "Flat", "method": "published", "target": "ivf_cluster"}, "Flat has no cells"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_an_error_before_anything_is_written(
    world: Path, quick: dict[str, Any], tmp_path: Path, more: dict[str, str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    placed = {name: tmp_path / value if name.endswith("_dir") else value for name, value in more.items()}
    settings = quick | {"data_dir": world / "photos", "output_dir": tmp_path / "out"} | placed
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        active_indexing.run(active_indexing.configure(**settings))
    assert not (tmp_path / "out").exists()


def test_inputs_in_the_output_folder_and_the_other_way_round_are_safe(
    toy: Toy, quick: dict[str, Any], tmp_path: Path
) -> None:
    quick = quick | {"eval_retrieval": False, "eval_icd": False}
    photos = take_images(toy, tmp_path / "photos", 2)
    for _ in range(2):  # the second time, the output is there to be found
        inside = active_indexing.activate(photos, photos / "out", **quick)
        assert inside.content["quality"]["released"] == 2
    assert active_indexing.activate(photos, tmp_path, **quick).content["quality"]["released"] == 4
    with pytest.raises(ValueError, match=r"lies in the folder of released images .*: inputs are never"):
        active_indexing.activate(tmp_path / "imgs", tmp_path, **quick)


def test_files_of_somebody_else_below_imgs_are_never_overwritten(
    world: Path, quick: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "imgs").mkdir()
    (tmp_path / "imgs" / "holiday.png").write_bytes(b"mine")
    for existing in ("resume", "overwrite"):
        with pytest.raises(ValueError, match=r"imgs holds files that no run of this program has written"):
            active_indexing.activate(world / "photos", tmp_path, **quick, existing=existing)
    assert (tmp_path / "imgs" / "holiday.png").read_bytes() == b"mine"


@pytest.mark.slow
def test_the_command_line_does_what_the_functions_do_from_any_folder(
    world: Path, quick: dict[str, Any], active: RunSummary, tmp_path: Path
) -> None:
    argv = flags(quick | {"data_dir": world / "photos", "output_dir": "here", "workers": 1, "verbose": 1})
    program = Path(__file__).parents[1] / "main.py"
    done = subprocess.run(
        [sys.executable, str(program), *argv],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"active: {COUNT} images released, 0 skipped")
    assert tables(tmp_path / "here") == tables(active.output_dir)
    assert stamps(tmp_path / "here").keys() == stamps(active.output_dir).keys()


def test_when_nothing_could_be_released_the_program_says_so_and_leaves_with_1(
    quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("no image")
    assert main.main(flags(quick | {"data_dir": tmp_path / "photos", "output_dir": tmp_path / "out"})) == 1
    assert capsys.readouterr().err.startswith("error: none of the images could be released; ")
    (row,) = pd.read_csv(tmp_path / "out" / "manifest.csv").to_dict("records")
    assert row["status"] == "skipped"
    assert row["reason"].startswith("not a readable image")
    assert not (tmp_path / "out" / "retr_df.csv").exists()


def test_a_wrong_file_leaves_with_2_and_one_line(
    quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.pt").write_text("no model")
    wrong = quick | {"data_dir": tmp_path, "model_path": tmp_path / "model.pt"}
    (tmp_path / "a.png").touch()
    assert main.main(flags(wrong | {"output_dir": tmp_path / "out"})) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert len(told.splitlines()) == 1


def test_settings_that_the_method_does_not_know_are_told_with_the_method_that_does(
    toy: Toy, tmp_path: Path
) -> None:
    images = take_images(toy, tmp_path / "images", 2)
    settings = settings_of(toy, tmp_path / "indexes") | {"eval_retrieval": False, "eval_icd": False}
    config = active_indexing.configure(
        data_dir=images, output_dir=tmp_path / "out", scaling=2.0, target="ori_ft", **settings
    )
    expected = r"--method perceptual makes no use of --target, --scaling \(known to --method published\)"
    with pytest.warns(UserWarning, match=expected):
        active_indexing.run(config)


def test_a_folder_of_an_older_program_which_had_no_loss_batch_resumes(toy: Toy, tmp_path: Path) -> None:
    images = take_images(toy, tmp_path / "images", 2)
    settings = settings_of(toy, tmp_path / "indexes") | {"eval_retrieval": False, "eval_icd": False}
    settings |= {"data_dir": images, "output_dir": tmp_path / "out", "method": "published", "iterations": 1}
    active_indexing.run(active_indexing.configure(**settings))
    journal = tmp_path / "out" / ".journal" / "release.jsonl"
    header = json.loads(journal.read_text().splitlines()[0])
    assert "scaling" in header["activation"]
    assert "loss_batch" not in header["activation"]  # as the older program wrote it
    released = {path: path.read_bytes() for path in (tmp_path / "out" / "imgs").iterdir()}
    active_indexing.run(active_indexing.configure(**settings, loss_batch=16))
    assert {path: path.read_bytes() for path in (tmp_path / "out" / "imgs").iterdir()} == released
    with pytest.raises(ValueError, match=r"holds a run with other settings: .*loss_batch"):
        active_indexing.run(active_indexing.configure(**settings, loss_batch=4))
