import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from data import prepare_disc

ROOT = Path(__file__).resolve().parents[2]


def made_up_disc(folder: Path, references: int = 30, training: int = 20) -> Path:
    for kind, letter, count in (("references", "R", references), ("train", "T", training)):
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            (folder / kind / f"{letter}{number:06d}.jpg").write_bytes(b"x")
    (folder / "groundtruth_matches.csv").write_text("Q00001,R000003\nQ00000,R000021\n")
    return folder


@pytest.fixture
def disc(tmp_path):
    return made_up_disc(tmp_path / "disc")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def report_of(folder: Path) -> dict:
    return json.loads((folder / "prepare_disc.json").read_text())


def test_references_with_a_query_are_protected_and_the_others_fill_the_index(disc, tmp_path):
    out = tmp_path / "out"
    prepare_disc.prepare(disc, out)
    assert names(out / "references_10k") == ["R000003.jpg", "R000021.jpg"]
    assert names(out / "references_990k") == [
        f"R{number:06d}.jpg" for number in range(30) if number not in (3, 21)
    ]
    assert len(names(out / "queries_40k")) == 20


def test_links_are_absolute_and_lead_to_the_images_from_anywhere(disc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert prepare_disc.main(["--data_dir", "disc", "--output_dir", "out"]) == 0
    monkeypatch.chdir("/")
    for folder in ("references_10k", "references_990k", "queries_40k"):
        for link in (tmp_path / "out" / folder).iterdir():
            assert Path(os.readlink(link)).is_absolute()
            assert link.read_bytes() == b"x"
            assert link.resolve().name == link.name


def test_the_drawn_queries_are_those_of_random_sample_with_seed_0(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_disc, "NONMATCHING_QUERIES", 5)
    disc = made_up_disc(tmp_path, training=50)
    prepare_disc.prepare(disc, tmp_path)
    random.seed(0)
    published = random.sample([f"T{number:06d}.jpg" for number in range(50)], 5)
    assert names(tmp_path / "queries_40k") == sorted(published)


def test_missing_files_are_listed_and_do_not_change_the_choice_of_the_others(disc, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_disc, "NONMATCHING_QUERIES", 8)
    prepare_disc.prepare(disc, tmp_path / "whole")
    drawn = names(tmp_path / "whole" / "queries_40k")
    for lost in ("references/R000003.jpg", "references/R000004.jpg", f"train/{drawn[0]}"):
        (disc / lost).unlink()
    prepare_disc.prepare(disc, tmp_path / "out")
    assert names(tmp_path / "out" / "queries_40k") == drawn[1:]
    assert names(tmp_path / "out" / "references_10k") == ["R000021.jpg"]
    assert report_of(tmp_path / "out")["missing"] == {
        "references_10k": ["R000003.jpg"],
        "references_990k": ["R000004.jpg"],
        "queries_40k": [drawn[0]],
    }


def test_running_twice_changes_nothing(disc, capsys):
    prepare_disc.prepare(disc, disc)
    before = {path: os.lstat(path).st_mtime_ns for path in disc.glob("*_*k/*")}
    assert prepare_disc.main(["--data_path", str(disc)]) == 0
    assert {path: os.lstat(path).st_mtime_ns for path in disc.glob("*_*k/*")} == before
    assert "28 links (28 kept, 0 made, 0 replaced, 0 removed)" in capsys.readouterr().out


def test_wrong_links_are_replaced_and_stale_ones_removed(disc, tmp_path):
    out = tmp_path / "out"
    prepare_disc.prepare(disc, out)
    wrong, stale = out / "references_10k/R000003.jpg", out / "references_10k/R000005.jpg"
    wrong.unlink()
    wrong.symlink_to("nowhere.jpg")
    stale.symlink_to("nowhere.jpg")
    (out / "references_10k/notes.txt").write_text("mine")
    prepare_disc.prepare(disc, out)
    assert report_of(out)["references_10k"] == {
        "links": 2,
        "kept": 1,
        "made": 0,
        "replaced": 1,
        "removed": 1,
    }
    assert names(out / "references_10k") == ["R000003.jpg", "R000021.jpg", "notes.txt"]
    assert wrong.read_bytes() == b"x"


def test_a_file_in_the_place_of_a_link_is_not_overwritten(disc, tmp_path, capsys):
    taken = tmp_path / "references_10k" / "R000003.jpg"
    taken.parent.mkdir()
    taken.write_text("mine")
    assert prepare_disc.main(["--data_dir", str(disc), "--output_dir", str(tmp_path)]) == 2
    assert "R000003.jpg is not a link; move it away" in capsys.readouterr().err
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "Q00001,R000003\nQ00000,R000021\n",
        "query_id,reference_id\nQ00001,R000003\nQ00000,R000021\n",
        "\ufeffquery_id,reference_id\r\nQ00001,R000003\r\nQ00002,\r\nQ00003\r\n\r\nQ00000,R000021\r\n",
        "Q00001,R000003\nQ00009,R000003\nQ00001,R000003\nQ00000, R000021 \n",
    ],
    ids=["plain", "header", "empty references", "repeated rows"],
)
def test_every_shape_of_the_ground_truth_is_understood(tmp_path, text):
    (tmp_path / "groundtruth_matches.csv").write_text(text, encoding="utf-8", newline="")
    assert prepare_disc.matched_references(tmp_path) == {"R000003", "R000021"}


def test_the_parts_of_the_ground_truth_are_read_together_when_there_is_no_whole(tmp_path):
    (tmp_path / "dev_queries_groundtruth.csv").write_text("Q00001,R000003\n")
    (tmp_path / "test_queries_groundtruth.csv").write_text("Q50000,R000021\n")
    assert prepare_disc.matched_references(tmp_path) == {"R000003", "R000021"}
    (tmp_path / "groundtruth_matches.csv").write_text("Q00001,R000007\n")
    assert prepare_disc.matched_references(tmp_path) == {"R000007"}


@pytest.mark.parametrize("row", ["R000003,Q00001", "Q00001,R3", "Q00001,R000003,0.5", ",R000003"])
def test_a_row_that_is_no_match_is_refused_with_its_line(tmp_path, row):
    (tmp_path / "groundtruth_matches.csv").write_text(f"Q00000,R000000\n{row}\n")
    with pytest.raises(ValueError, match=r"groundtruth_matches.csv, line 2: expected a query and a refer"):
        prepare_disc.matched_references(tmp_path)


def test_what_is_missing_is_named(tmp_path, capsys):
    assert prepare_disc.main(["--data_dir", str(tmp_path)]) == 2
    assert "no groundtruth_matches.csv and no *_queries_groundtruth.csv in" in capsys.readouterr().err
    (tmp_path / "groundtruth_matches.csv").write_text("Q00000,R000000\n")
    assert prepare_disc.main(["--data_dir", str(tmp_path)]) == 2
    assert "no images R000000.jpg ... in" in capsys.readouterr().err


def test_it_runs_as_a_script_from_any_folder(disc, tmp_path):
    script = ROOT / "data" / "prepare_disc.py"
    done = subprocess.run(
        [sys.executable, script, "--data_dir", disc], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"{disc / 'references_10k'}: 2 links (0 kept, 2 made, 0 replaced, 0 removed)" in done.stdout
