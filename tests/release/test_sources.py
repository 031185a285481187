"""Which image an input is: renamed, edited, twice there, from another folder, by an older program."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import active_indexing
from active_indexing import pipeline
from active_indexing.artefacts import identity
from active_indexing.images.inventory import content_id, protected_id
from active_indexing.release import sources as release_sources
from tests.conftest import Toy
from tests.runs import flags, released, settings_of, stamps, take_images


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("indexes")


@pytest.fixture
def bare(toy: Toy, indexes: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings of a run without an evaluation."""
    more = {"eval_retrieval": False, "eval_icd": False}
    return settings_of(toy, indexes, data_dir=tmp_path / "a", output_dir=tmp_path / "out", **more)


def photo(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


def run(settings: dict[str, Any], **more: Any) -> pd.DataFrame:
    config = active_indexing.configure(**(settings | more))
    active_indexing.run(config)
    return pd.read_csv(config.output_dir / "manifest.csv")


def total(output: Path) -> int:
    return int(json.loads((output / "run.json").read_text())["index"]["entries"])


def test_the_id_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    expected = 2**62 + int(hashlib.sha256(b"abc").hexdigest()[:16], 16) // 4  # ba7816bf 8f01cfea
    assert content_id(b"abc") == content_id(tmp_path / "x") == expected == 2**62 + 0xBA7816BF8F01CFEA // 4
    with pytest.raises(FileNotFoundError):
        content_id(tmp_path / "missing")


def test_two_folders_with_one_name_into_one_output_keep_both_photos(
    bare: dict[str, Any], tmp_path: Path
) -> None:
    one, other = photo(tmp_path / "a" / "IMG_0001.png", 1), photo(tmp_path / "b" / "IMG_0001.png", 2)
    first = run(bare)
    before, marks = released(tmp_path / "out"), stamps(tmp_path / "out")
    second = run(bare, data_dir=tmp_path / "b")
    assert released(tmp_path / "out").items() > before.items()
    assert stamps(tmp_path / "out").items() > marks.items(), "not written again"
    assert dict(zip(second["source"], second["id"], strict=True)) == {
        str(one): content_id(one),
        str(other): content_id(other),
    }
    assert second["released"].nunique() == 2
    assert second.set_index("id").loc[content_id(one)].equals(first.set_index("id").loc[content_id(one)])
    assert total(tmp_path / "out") == 500 + 2
    again = run(bare)  # back to the first folder: nothing moves
    assert set(again["id"]) == set(second["id"])
    assert len(released(tmp_path / "out")) == 2


def test_a_renamed_photo_keeps_its_id_and_its_released_file(bare: dict[str, Any], tmp_path: Path) -> None:
    old = photo(tmp_path / "a" / "old.png", 1)
    first, marks = run(bare), stamps(tmp_path / "out")
    old.rename(tmp_path / "a" / "new.png")
    second = run(bare)
    assert stamps(tmp_path / "out") == marks
    assert second["source"].to_list() == [str(tmp_path / "a" / "new.png")]
    assert second.drop(columns="source").equals(first.drop(columns="source"))


def test_one_picture_twice_has_one_id_two_files_and_two_rows(bare: dict[str, Any], tmp_path: Path) -> None:
    one = photo(tmp_path / "a" / "x.png", 1)
    shutil.copy(one, tmp_path / "a" / "y.png")
    table, files = run(bare), released(tmp_path / "out")
    assert table["id"].to_list() == [content_id(one)] * 2
    assert files.keys() == {"x.png", "y.png"}
    assert files["x.png"] == files["y.png"]
    assert total(tmp_path / "out") == 500 + 1
    marks = stamps(tmp_path / "out")
    one.unlink()
    assert run(bare)["source"].to_list() == [str(tmp_path / "a" / name) for name in ("y.png", "x.png")]
    assert stamps(tmp_path / "out") == marks


def test_an_edited_photo_gets_a_row_and_a_file_of_its_own(bare: dict[str, Any], tmp_path: Path) -> None:
    path = photo(tmp_path / "a" / "x.png", 1)
    first = content_id(path)
    run(bare)
    before = released(tmp_path / "out")
    photo(path, 2)
    table = run(bare)
    assert table["id"].to_list() == [content_id(path), first]
    assert table["source"].to_list() == [str(path)] * 2
    assert released(tmp_path / "out").items() > before.items()


def test_departed_images_are_evaluated_as_long_as_their_released_file_is_there(
    bare: dict[str, Any], tmp_path: Path
) -> None:
    paths = [photo(tmp_path / "a" / f"{number}.png", number) for number in range(2)]
    ids = [content_id(path) for path in paths]
    both = bare | {"eval_retrieval": True}
    run(both)
    paths[0].unlink()
    run(both)
    assert set(pd.read_csv(tmp_path / "out" / "retr_df.csv")["image_index"]) == set(ids)
    (tmp_path / "out" / "imgs" / "0.png").unlink()
    assert set(run(both)["id"]) == set(ids), "its row stays"
    assert set(pd.read_csv(tmp_path / "out" / "retr_df.csv")["image_index"]) == {ids[1]}
    assert total(tmp_path / "out") == 500 + 2


def test_a_second_folder_whose_released_images_are_not_kept(bare: dict[str, Any], tmp_path: Path) -> None:
    one, other = photo(tmp_path / "a" / "x.png", 1), photo(tmp_path / "b" / "x.png", 2)
    removed = bare | {"eval_retrieval": True, "save_imgs": False}
    for data_dir in ("a", "b", "b"):
        table = run(removed, data_dir=tmp_path / data_dir)
        assert not released(tmp_path / "out")
    assert set(table["id"]) == {content_id(one), content_id(other)}


def test_unchanged_inputs_are_not_read_again(
    bare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        photo(tmp_path / "a" / f"{number}.png", number)
    run(bare)
    monkeypatch.setattr(release_sources, "file_state", None)
    assert len(run(bare)) == 3


def test_a_file_that_changes_while_the_run_goes_on_is_skipped(
    bare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, identified = photo(tmp_path / "a" / "x.png", 1), pipeline.identified
    photo(tmp_path / "a" / "y.png", 5)

    def then_edited(*arguments: Any, **more: Any) -> Any:
        found = identified(*arguments, **more)
        photo(path, 2)
        return found

    monkeypatch.setattr(pipeline, "identified", then_edited)
    table = run(bare).set_index("source")
    assert table["status"].to_list() == ["skipped", "released"]
    assert (
        table["reason"].iloc[0]
        == "the file was changed while the run was going on; run the same command again"
    )
    monkeypatch.setattr(pipeline, "identified", identified)
    assert run(bare)["status"].to_list() == ["released"] * 2


def test_a_run_of_an_older_program_keeps_its_ids(
    bare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ids came from names: ``identified`` was not there."""
    paths = [photo(tmp_path / "a" / f"{number}.png", number) for number in range(3)]
    identified = pipeline.identified
    monkeypatch.setattr(pipeline, "identified", lambda sources, journal, progress: sources)
    old = run(bare)
    marks = stamps(tmp_path / "out")
    assert old["id"].to_list() == [protected_id(path.name) for path in paths]
    monkeypatch.setattr(pipeline, "identified", identified)
    assert run(bare).equals(old)
    assert stamps(tmp_path / "out") == marks
    paths[0].rename(tmp_path / "a" / "renamed.png")
    photo(paths[1], 9)
    table = run(bare).set_index("source")
    assert table.loc[str(tmp_path / "a" / "renamed.png"), "id"] == protected_id("0.png")
    assert set(table.loc[str(paths[1]), "id"]) == {protected_id("1.png"), content_id(paths[1])}
    assert table.loc[str(paths[2]), "id"] == protected_id("2.png")
    assert stamps(tmp_path / "out").items() > marks.items()


@pytest.mark.slow
def test_a_second_folder_killed_in_the_middle_ends_like_one_that_was_not(
    toy: Toy, bare: dict[str, Any], tmp_path: Path
) -> None:
    take_images(toy, tmp_path / "b", 24)
    names = sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.*"))
    for number, name in enumerate(names[:5]):  # other photos under the same names
        photo(tmp_path / "a" / name, number)
    run(bare)
    before, journal = released(tmp_path / "out"), tmp_path / "out" / ".journal" / "release.jsonl"
    lines = journal.read_bytes().count(b"\n")
    second = bare | {"data_dir": tmp_path / "b"}
    with subprocess.Popen([sys.executable, "-m", "active_indexing", *flags(second)]) as process:
        deadline = time.monotonic() + 120
        while journal.read_bytes().count(b"\n") < lines + 6:
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert released(tmp_path / "out").items() > before.items()
    table = run(second)
    undisturbed = bare | {"output_dir": tmp_path / "undisturbed"}
    run(undisturbed)
    assert run(undisturbed, data_dir=tmp_path / "b").equals(table)
    assert released(tmp_path / "out") == released(tmp_path / "undisturbed")
    assert released(tmp_path / "out").items() > before.items()
    for path in (tmp_path / "a").rglob("*.png"):
        assert identity.sha256_file(path)
        assert content_id(path) in set(table["id"])
