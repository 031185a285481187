from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from active_indexing.store import database
from active_indexing.store.archive import Store
from active_indexing.store.verify import Verification, verify
from tests.store.made_up import filled, new_image


def verified(folder: Path, **settings: object) -> Verification:
    with Store(folder, writable=True) as store:
        return verify(store, **settings)


def changed(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / "store.sqlite")
    with connection:
        connection.execute(statement, values)
    connection.close()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = filled(tmp_path / "store", 6, entries=2)
    with Store.writing(folder) as store:
        store.save_cache()
    return folder


def test_a_whole_store_is_clean(folder: Path) -> None:
    result = verified(folder)
    assert (result.damage, result.checked, result.recent, result.left) == ([], 6, 0, 0)


def at(name: str, damage: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: damage(folder / name)


def sql(statement: str) -> Callable[[Path], object]:
    return lambda folder: changed(folder, statement)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def foreign(path: Path) -> None:
    path.write_bytes(b"x")


RELEASED, CACHE, TRAINED = "released/0002.png", "cache/6-0.index", "contract/trained.index"
ZEROED = "UPDATE descriptors SET float16 = zeroblob(length(float16)) WHERE seq = 2"
DAMAGE = {
    "a released file changed": (at(RELEASED, flip), "the released file has changed", False),
    "a released file gone": (at(RELEASED, Path.unlink), "can't be read", False),
    "a released file longer": (at(RELEASED, longer), "the released file has changed", False),
    "codes changed": (
        sql("UPDATE codes SET codes = zeroblob(length(codes)) WHERE seq = 2"),
        "not those of its descriptors",
        True,
    ),
    "codes cut": (sql("UPDATE codes SET codes = x'00' WHERE seq = 2"), "its codes are missing", True),
    "codes gone": (sql("DELETE FROM codes WHERE seq = 2"), "its codes are missing", True),
    "the cell changed": (sql("UPDATE images SET cell = 99 WHERE seq = 2"), "its codes", True),
    "descriptors changed": (sql(ZEROED), "its descriptors are missing or damaged", False),
    "a count changed": (sql("INSERT OR REPLACE INTO meta VALUES ('removals', 3)"), "counts removed", True),
    "descriptors gone": (sql("DELETE FROM descriptors WHERE seq = 2"), "its descriptors", False),
    "the index file changed": (at(CACHE, flip), "its bytes have changed", True),
    "the index file cut": (at(CACHE, foreign), "it has 1 bytes instead of", True),
    "the index file gone": (at(CACHE, Path.unlink), "it is missing", True),
    "an older index file": (at("cache/4-0.index", foreign), "an older index file", True),
    "the trained index changed": (at(TRAINED, flip), "missing or changed", True),
    "the trained index gone": (at(TRAINED, Path.unlink), "missing or changed", True),
    "the sample gone": (at("contract/strangers.npy", Path.unlink), "missing or damaged", True),
    "the base index gone": (at("contract/base.index", Path.unlink), "missing or changed", False),
    "a file of nobody": (at("released/x.png", foreign), "no row tells of it", True),
    "a half-written file": (at(".writing-a.tmp", foreign), "half-written", True),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_every_damage_is_found_and_repaired_where_that_is_possible(folder: Path, name: str) -> None:
    damage, told, repairable = DAMAGE[name]
    with Store(folder) as store:
        codes = [codes.copy() for _, codes in store.database.codes(store.codec.code_size)]
    damage(folder)
    result = verified(folder)
    assert len(result.damage) == 1, result.damage
    assert told in result.damage[0].how
    assert (result.damage[0].fix is not None) == repairable
    if not repairable:
        assert "copy" in result.damage[0].remedy
        return
    with Store.writing(folder) as store:
        for each in verify(store).damage:
            each.fix()
    assert verified(folder).damage == []
    with Store(folder) as store:
        again = np.concatenate([codes for _, codes in store.database.codes(store.codec.code_size)])
    assert np.array_equal(again, np.concatenate(codes))


def test_verified_lately_is_passed_over_unless_it_was_damaged(folder: Path) -> None:
    flip(folder / "released" / "0003.png")
    assert len(verified(folder).damage) == 1
    result = verified(folder, max_age=3600)
    assert (result.checked, result.recent, len(result.damage)) == (1, 5, 1)
    time.sleep(0.05)
    assert verified(folder, max_age=0.01).checked == 6


def test_what_there_was_no_time_for_comes_first_the_next_time(folder: Path) -> None:
    result = verified(folder, max_duration=0)
    assert (result.checked, result.left) == (0, 6)
    assert not result.unread, "a small file is read before anyone looks at the clock"
    with Store(folder, writable=True) as store:
        rows = list(store.database.rows())
        store.database.note_checks([(row.seq, time.time() - 10 * row.seq, "") for row in rows])
        seen = []
        store.database.vectors_of, original = (
            lambda seq: seen.append(seq) or original(seq),
            store.database.vectors_of,
        )
        verify(store)
    assert seen == [6, 5, 4, 3, 2, 1], "the least recently verified first"


def test_a_verification_that_may_not_write_leaves_no_record(folder: Path) -> None:
    with Store(folder) as store:
        assert verify(store, record=False).checked == 6
        assert store.database.verified() == (0, 0)


def test_a_page_of_the_database_that_was_overwritten_is_told(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store", 60)
    path = folder / "store.sqlite"
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 6 * 4096] = bytes(range(256)) * 48
    path.write_bytes(content)
    with Store(folder) as store:
        (damage,) = verify(store, record=False).damage
    assert damage.what == str(path)
    assert "copy" in damage.remedy


def test_a_removal_that_was_killed_before_its_file_went_is_completed_by_the_next(folder: Path) -> None:
    image = new_image(folder, 1, entries=2, write=False)
    with Store.writing(folder) as store:
        store.database.remove(image.id)
        assert (folder / image.released).exists()
        assert store.remove(image.id) is None
        assert not (folder / image.released).exists()


def test_rows_that_someone_deleted_are_missed(folder: Path) -> None:
    changed(folder, "DELETE FROM images WHERE seq = 2")
    (missing,) = (each for each in verified(folder).damage if each.fix is None)
    assert "1 of its 6 rows are missing" in missing.how
    assert "from a copy" in missing.remedy


def test_a_file_for_which_there_is_no_time_is_said_to_be_unread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "STEPS_BETWEEN_LOOKS", 10)
    assert verified(folder, max_duration=0).unread
    assert not verified(folder, max_duration=60).unread
    with Store(folder) as store:
        assert store.database.integrity() == [], "the limit is gone with its block"


def test_images_are_counted_without_looking_at_every_row(folder: Path) -> None:
    with Store.writing(folder) as store:
        store.remove(next(store.database.rows()).id)
        assert store.database.counts() == {"released": 5, "removed": 1}
        assert store.database.counted() == (6, 1)
        run = store.database.begin_run({})
        store.append(run, [new_image(folder, 9), new_image(folder, 10)])
        assert store.database.last_run()["released"] == 2
        assert store.database.counts() == {"released": 7, "removed": 1}
