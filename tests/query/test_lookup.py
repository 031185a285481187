from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from active_indexing.query import output
from active_indexing.query.calibrating import calibrate
from active_indexing.query.inputs import query_paths
from active_indexing.query.lookup import Lookup, QueryConfig
from active_indexing.query.page import framed, write_page
from active_indexing.store.archive import Store
from active_indexing.store.errors import StoreError
from tests.conftest import Toy
from tests.store.worlds import some, toy_release


@pytest.fixture(scope="module")
def filled(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lookup")
    toy_release(toy, some(toy, folder / "photos", slice(0, 20)), folder / "store")
    return folder


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled / "store", tmp_path / "store")
    return tmp_path / "store"


def photo(toy: Toy, place: int) -> Path:
    return sorted(toy.images.glob("*.png"))[place]


def row_of(store: Path, path: Path) -> object:
    with Store(store) as opened:
        return next(row for row in opened.database.rows() if Path(row.source).name == path.name)


def test_paths_bytes_pictures_and_arrays_give_the_same_answer(toy: Toy, store: Path) -> None:
    path = photo(toy, 3)
    row = row_of(store, path)
    with Image.open(path) as image, Lookup(store) as lookup:
        smaller = image.convert("RGB").resize((image.width - 3, image.height - 2))
        pixels = np.asarray(smaller)
        smaller.save(store.parent / "copy.png")
        content = (store.parent / "copy.png").read_bytes()
        answers = [lookup.ask(query) for query in (store.parent / "copy.png", content, smaller, pixels)]
    assert {answer.best.id for answer in answers} == {row.id}
    assert len({round(answer.best.distance, 6) for answer in answers}) == 1
    assert {answer.verdict for answer in answers} == {"match"}
    assert answers[0].query.endswith("copy.png")
    assert answers[0].best.released == str(store / row.released)


def test_the_very_bytes_are_known_without_a_look(toy: Toy, store: Path) -> None:
    path = photo(toy, 5)
    row = row_of(store, path)
    with Lookup(store) as lookup:
        for query, word in ((path, "source"), (store / row.released, "released file")):
            answer = lookup.ask(query)
            assert (answer.verdict, answer.best.id, answer.best.distance, answer.view) == (
                "match",
                row.id,
                0,
                "file",
            )
            assert word in answer.reason or "source" in answer.reason


def test_a_picture_that_is_not_ours_is_no_match(toy: Toy, store: Path) -> None:
    with Lookup(store) as lookup:
        assert [lookup.ask(photo(toy, place)).verdict for place in range(24, 32)].count("match") <= 1


def test_what_is_released_and_removed_meanwhile_counts_at_once(toy: Toy, store: Path, tmp_path: Path) -> None:
    new = some(toy, tmp_path / "new", slice(20, 21))
    query = np.asarray(Image.open(photo(toy, 20)).convert("RGB"))
    with Lookup(store) as lookup:
        before = lookup.ask(query)
        toy_release(toy, new, store)
        found = lookup.ask(query)
        assert found.verdict == "match"
        assert before.best is None or before.best.id != found.best.id
        with Store.writing(store) as opened:
            opened.remove(found.best.id)
        gone = lookup.ask(query)
        assert gone.best is None or gone.best.id != found.best.id
        assert lookup.ask(photo(toy, 20)).view != "file", "the bytes of a removed source are nobody's"


def test_look_alikes_are_told(toy: Toy, store: Path, tmp_path: Path) -> None:
    (tmp_path / "burst").mkdir()
    pixels = np.asarray(Image.open(photo(toy, 22)).convert("RGB"))
    for n in range(3):
        Image.fromarray(np.clip(pixels.astype(int) + n, 0, 255).astype(np.uint8)).save(
            tmp_path / "burst" / f"{n}.png"
        )
    toy_release(toy, tmp_path / "burst", store)
    with Lookup(store) as lookup:
        answer = lookup.ask(np.clip(pixels.astype(int) - 1, 0, 255).astype(np.uint8))
        assert answer.verdict == "match"
        assert len(answer.look_alikes) == 2
        assert answer.runner_up.id == answer.look_alikes[0].id
        assert lookup.ask(np.asarray(Image.open(photo(toy, 3)).convert("RGB"))).look_alikes == ()


def test_an_unreadable_query_is_an_answer_with_a_reason(store: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    with Lookup(store) as lookup:
        answers = [lookup.ask(tmp_path / "text.jpg"), lookup.ask(tmp_path / "missing.jpg"), lookup.ask(b"")]
        assert {answer.verdict for answer in answers} == {"unreadable"}
        assert all(answer.reason for answer in answers)
        with pytest.raises(ValueError, match=r"an array \(H, W, 3\) of uint8 sRGB; got float64"):
            lookup.ask(np.zeros((4, 4, 3)))


def test_an_empty_store_answers_no_match(toy: Toy, store: Path) -> None:
    with Store.writing(store) as opened:
        for row in list(opened.database.rows()):
            opened.remove(row.id)
    with Lookup(store) as lookup:
        assert lookup.notes[0].startswith("no thresholds")
        answer = lookup.ask(photo(toy, 3))
        assert (answer.verdict, answer.best, answer.reason) == ("no match", None, "the store is empty")


def test_a_damaged_index_file_is_told_and_the_answers_stay(toy: Toy, store: Path) -> None:
    with Store.writing(store) as opened:
        path = opened.save_cache()
    query = np.asarray(Image.open(photo(toy, 3)).convert("RGB"))[2:, 1:]
    with Lookup(store) as lookup:
        expected = lookup.ask(query)
    path.write_bytes(path.read_bytes()[:-100])
    with Lookup(store) as lookup:
        assert "answers come from the codes" in lookup.notes[0]
        assert lookup.ask(query) == expected


def test_thresholds_are_estimated_and_said_to_be_until_they_are_measured(toy: Toy, store: Path) -> None:
    with Lookup(store) as lookup:
        assert lookup.notes[0].startswith("thresholds are estimated from 20 images of the store")
    made = calibrate(store, QueryConfig(), toy.images / "more", 50, progress=False)
    assert made.path == store / "calibration.json"
    assert "12 foreign images" in str(made)
    with Lookup(store) as lookup:
        assert lookup.notes == []
        assert lookup.calibration.source == "non-matching queries"
        assert len(lookup.calibration.strangers.scores) == 12
    with Lookup(store, QueryConfig(views=False)) as lookup:  # it was measured with views
        assert lookup.calibration.source == "estimate"
    made = calibrate(store, QueryConfig(), None, 50, progress=False)
    assert "20 images of the store, each against the others" in str(made)


def test_a_calibration_of_another_store_is_refused(store: Path, toy: Toy) -> None:
    path = calibrate(store, QueryConfig(), toy.images / "more", 50, progress=False).path
    path.write_text(json.dumps(json.loads(path.read_text()) | {"contract": "another"}))
    with pytest.raises(StoreError, match="calibrate"):
        Lookup(store)


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"false_positive_rate": 0.0}, "above 0 and below 0.5"), ({"nprobe": 0}, "at least 1, got 0")],
)
def test_settings_out_of_range_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        QueryConfig(**settings)


def test_answers_become_tables_csv_json_and_a_page(toy: Toy, store: Path, tmp_path: Path) -> None:
    (tmp_path / "line\nbreak.png").write_bytes(b"no image")
    with Lookup(store) as lookup:
        answers = [lookup.ask(photo(toy, 3)), lookup.ask(tmp_path / "line\nbreak.png")]
    assert len(list(output.lines(answers, "table"))) == 3
    told = list(output.lines(answers, "csv"))
    assert told[0].split(",")[:3] == ["query", "verdict", "id"]
    assert len(told) == 3
    assert not any("\n" in line for line in told)
    records = [json.loads(line) for line in output.lines(answers, "jsonl")]
    assert records[0]["best"]["id"] == answers[0].best.id
    write_page(tmp_path / "page.html", answers, ["a note"])
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == 2
    assert "1 match" in page
    assert "1 unreadable" in page
    assert "http" not in page


def test_the_frame_is_drawn_on_a_copy() -> None:
    pixels = np.zeros((40, 50, 3), np.uint8)
    marked = framed(pixels, (10, 5, 30, 45))
    assert not pixels.any()
    assert marked[10, 5:45].any(axis=1).all()
    assert marked[29, 5:45].any(axis=1).all()
    assert not marked[15, 20].any()


def test_queries_come_from_files_folders_lists_and_standard_input(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list.txt").write_text(f"{toy.images / '00.png'}\n\nrelative.png\n")
    monkeypatch.setattr("sys.stdin", ["one.jpg\n", "two.jpg\r\n", " \n"])
    told = list(query_paths([str(toy.images), "-", "other.jpg"], [tmp_path / "list.txt"]))
    assert len(told) == 48 + 2 + 1 + 2
    assert told[48:51] == [Path("one.jpg"), Path("two.jpg"), Path("other.jpg")]
    assert told[-1] == tmp_path / "relative.png"
    with pytest.raises(FileNotFoundError, match="no list"):
        list(query_paths([], [tmp_path / "none.txt"]))


def test_a_store_of_few_images_takes_references_of_its_index_for_strangers(toy: Toy, tmp_path: Path) -> None:
    store = tmp_path / "store"
    toy_release(toy, some(toy, tmp_path / "photos", slice(0, 2)), store)
    with Lookup(store) as lookup:
        told = lookup.notes[0]
        assert told.startswith("thresholds are estimated from")
        assert "references of its index" in told
        assert lookup.calibration.strangers.images == 2
        with Image.open(photo(toy, 1)) as image:
            smaller = image.convert("RGB").resize((image.width - 3, image.height - 2))
        assert lookup.ask(smaller).verdict == "match"
        assert [lookup.ask(photo(toy, place)).verdict for place in range(24, 32)].count("match") <= 1
    toy_release(toy, some(toy, tmp_path / "photos", slice(2, 9)), store)
    with Lookup(store) as lookup:
        assert "9 images of the store, each against the others" in lookup.notes[0]
