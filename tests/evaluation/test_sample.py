"""Evaluation of a sample of the released images: which ones, what is told, what is done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import active_indexing
from active_indexing.reporting.recall import recall_table
from active_indexing.reporting.runs import open_runs
from active_indexing.reporting.verdict import verdict
from active_indexing.seeding import seed_for
from tests.conftest import Toy
from tests.runs import released, settings_of, take_images

COUNT, SAMPLE = 6, 2


@pytest.fixture(scope="module")
def world(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    take_images(toy, folder / "photos", COUNT)
    return folder


@pytest.fixture
def quick(toy: Toy, world: Path, tmp_path: Path) -> dict[str, Any]:
    return settings_of(toy, world / "indexes", data_dir=world / "photos", output_dir=tmp_path / "out")


def run(settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return active_indexing.run(active_indexing.configure(**{"active": False, **settings, **more})).content


def rows(output: Path, name: str = "retr_df.csv") -> pd.DataFrame:
    return pd.read_csv(output / name).drop(columns="batch")


def test_the_smallest_keys_are_drawn_and_the_index_holds_every_image(
    quick: dict[str, Any], tmp_path: Path
) -> None:
    content = run(quick, eval_sample=SAMPLE)
    ids = pd.read_csv(tmp_path / "out" / "manifest.csv")["id"].tolist()
    drawn = sorted(ids, key=lambda image: seed_for(0, image, "evaluation sample"))[:SAMPLE]
    for name in ("retr_df.csv", "icd_df.csv"):
        assert set(rows(tmp_path / "out", name)["image_index"]) == set(drawn)
    assert rows(tmp_path / "out")["image_index"].tolist()[:SAMPLE] == [i for i in ids if i in drawn]
    assert content["index"]["entries"] == 500 + COUNT
    assert content["sample"] == {"evaluated": SAMPLE, "released": COUNT}
    assert content["config"]["evaluation"]["eval_sample"] == SAMPLE

    shown = open_runs([tmp_path / "out"])
    sentence = verdict(shown, recall_table(shown)).sentence
    assert f", {SAMPLE} of {COUNT} images, drawn by id, 15 attacks)" in sentence


def test_a_sample_that_grows_keeps_its_answers_and_they_are_those_of_all(
    quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(quick, eval_sample=str(SAMPLE), eval_icd=False)
    few = rows(tmp_path / "out")
    asked: list[int] = []
    from active_indexing.attacks import jobs

    perform = jobs.perform
    monkeypatch.setattr(jobs, "perform", lambda job: asked.append(job.image_id) or perform(job))
    run(quick, eval_sample="all", eval_icd=False)
    everything = rows(tmp_path / "out")
    assert len(asked) == COUNT - SAMPLE
    assert not set(asked) & set(few["image_index"])
    cut = everything[everything["image_index"].isin(few["image_index"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(cut, few)
    asked.clear()
    run(quick, eval_sample=SAMPLE, eval_icd=False)
    assert not asked
    pd.testing.assert_frame_equal(rows(tmp_path / "out"), few)


def test_none_attacks_nothing(quick: dict[str, Any], tmp_path: Path) -> None:
    content = run(quick, eval_sample="none", query_nonmatch_dir=tmp_path / "missing")
    assert content["sample"] == {"evaluated": 0, "released": COUNT}
    assert not {"retrieval", "copy_detection"} & content.keys()
    assert len(released(tmp_path / "out")) == COUNT
    assert not (tmp_path / "out" / "retr_df.csv").exists()


def test_a_run_of_all_images_whose_files_were_removed_serves_a_sample(
    quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of earlier versions; a sample does not serve all of them, so the files are made again."""
    from active_indexing.release import image

    written: list[Path] = []
    write = image.write_bytes
    monkeypatch.setattr(
        image, "write_bytes", lambda path, content: written.append(path) or write(path, content)
    )
    bare = quick | {"save_imgs": False, "eval_icd": False}
    for sample, expected in ((SAMPLE, COUNT), ("all", COUNT), (SAMPLE, 0), ("all", 0)):
        written.clear()
        run(bare, eval_sample=sample)
        assert len(written) == expected, sample
        assert not released(tmp_path / "out")
        assert json.loads((tmp_path / "out" / "run.json").read_text())["sample"]["released"] == COUNT
