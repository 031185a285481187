from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from active_indexing.store import cache
from active_indexing.store.archive import Store, create_store, free_name
from active_indexing.store.errors import StoreBusyError, StoreError
from tests.store.made_up import contract, filled, make_store, new_image, trained_bytes, unit


def test_a_row_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store", 3)
    image = new_image(folder, 1, write=False)
    with Store(folder) as store:
        (row,) = store.database.images([image.id])
        for name in ("id", "source", "source_sha256", "released", "released_sha256", "size", "psnr", "linf"):
            assert getattr(row, name) == getattr(image, name)
        assert (row.seq, row.status, row.run) == (2, "released", 1)
        assert row.cell == store.codec.cells(store.codec.encode(image.entries))[0]
        vectors = store.database.descriptors([image.id])[image.id]
        np.testing.assert_allclose(vectors, [image.descriptor, *image.entries], atol=2e-4)


def test_a_second_arrival_is_known_by_its_hash(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store", 2)
    image = new_image(folder, 0)
    with Store.writing(folder) as store:
        assert store.database.find("source_sha256", image.source_sha256).id == image.id
        assert store.database.find("released_sha256", image.released_sha256).id == image.id
        with pytest.raises(StoreError, match="has already"):
            store.append(1, [new_image(folder, 5), image])
        assert store.database.counts() == {"released": 2}, "all or none"


def test_the_cache_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store", 40, entries=3)
    with Store.writing(folder) as store:
        first = store.save_cache().read_bytes()
        for path in (folder / "cache").iterdir():
            path.unlink()
        assert store.save_cache().read_bytes() == first
        added = store.codec.new_index()
        for seed in range(40):
            image = new_image(folder, seed, 3, write=False)
            added.add(np.repeat(image.id, 3), store.codec.encode(image.entries))
        assert added.to_bytes() == first
        assert added.ntotal == 120


def test_an_index_mapped_from_its_file_answers_like_one_from_the_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "READ_AT_OPENING", 0)
    folder = filled(tmp_path / "store", 60)
    with Store.writing(folder) as store:
        store.save_cache()
        mapped, last, damage = cache.load(folder, store.database, store.codec)
        assert (last, damage, mapped.ntotal) == (60, "", 60)
        made = store.codec.new_index().fill(store.database.codes(store.codec.code_size))
        for a, b in zip(mapped.search(unit(9, 5), 7, 3), made.search(unit(9, 5), 7, 3), strict=True):
            assert a.ids.tolist() == b.ids.tolist()
            assert a.distances.tolist() == b.distances.tolist()
        with pytest.raises(ValueError, match="mapped from its file"):
            mapped.add(np.array([1]), store.codec.encode(unit(1, 0)))


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing"])
def test_a_damaged_cache_costs_a_rebuild_and_no_answer(tmp_path: Path, how: str) -> None:
    folder = filled(tmp_path / "store", 30)
    with Store.writing(folder) as store:
        path = store.save_cache()
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        damaged = {"truncated": bytes(content[:-9]), "flipped": bytes(content)}
        path.unlink() if how == "missing" else path.write_bytes(damaged[how])
        index, last, damage = cache.load(folder, store.database, store.codec)
        assert (index.ntotal, last) == (30, 30)
        assert str(path) in damage


def test_the_cache_is_written_anew_when_much_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LEAST_CHANGES", 5)
    folder = filled(tmp_path / "store", 4)
    with Store.writing(folder) as store:
        store.save_cache_if_due()
        assert cache.newest(folder) is None
        store.append(1, [new_image(folder, 4)])
        store.save_cache_if_due()
        assert cache.newest(folder).last == 5
        for row in list(store.database.rows())[:4]:
            store.remove(row.id)
        store.save_cache_if_due()
        assert cache.newest(folder).removals == 0
        store.remove(next(store.database.rows()).id)
        store.save_cache_if_due()
        assert sorted(path.name for path in (folder / "cache").iterdir()) == ["5-5.index", "5-5.json"]


def test_what_is_removed_is_gone_with_its_file_and_stays_on_record(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store", 3)
    image = new_image(folder, 1, write=False)
    with Store(folder) as reader, Store.writing(folder) as store:
        assert store.remove(image.id).id == image.id
        assert store.remove(image.id) is None
        assert store.remove(12345) is None
        assert reader.database.descriptors([image.id]) == {}
        assert reader.database.find("source_sha256", image.source_sha256).status == "removed"
        assert not (folder / image.released).exists()
        ids = np.concatenate([ids for ids, _ in store.database.codes(store.codec.code_size)])
        assert image.id not in ids
        assert len(ids) == 2


def test_a_contract_that_differs_is_refused_by_name(tmp_path: Path) -> None:
    ours = contract()
    ours.refuse_other(contract(), tmp_path)
    with pytest.raises(
        StoreError, match=r"what differs: the weights of the descriptor$|weights of the descriptor"
    ):
        ours.refuse_other(contract(descriptor_weights="x" * 64), tmp_path)
    with pytest.raises(StoreError, match=r"the codes per image \(--entries\) \(1 in the store, 4 now\)"):
        ours.refuse_other(contract(entries=4), tmp_path)
    several = list(
        ours.differences(contract(descriptor_preprocessing="q", index_training="t", index_metric="IP"))
    )
    assert len(several) == 3


def test_a_second_writer_is_refused_or_waits(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store")
    with Store.writing(folder):
        with pytest.raises(StoreBusyError, match=f"process {os.getpid()}.*--wait"), Store.writing(folder):
            pass
        with Store(folder) as reader:  # readers never wait
            assert reader.database.counts() == {}
        other = multiprocessing.get_context("forkserver").Process(target=_write_after_waiting, args=(folder,))
        other.start()
        other.join(1.5)
        assert other.is_alive()
    other.join(20)
    assert other.exitcode == 0


def _write_after_waiting(folder: Path) -> None:
    with Store.writing(folder, wait=30) as store:
        store.database.begin_run({})


def test_a_store_is_not_made_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"holds other files \(holiday.jpg\)"):
        make_store(tmp_path)
    with pytest.raises(StoreError, match="is a file"):
        make_store(tmp_path / "holiday.jpg")
    with pytest.raises(FileNotFoundError, match="no store"):
        Store(tmp_path / "missing")


def test_a_creation_that_was_killed_is_made_anew(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store")
    (folder / "contract.json").unlink()
    (folder / "store.sqlite").write_bytes(b"half")
    make_store(folder)
    with Store(folder) as store:
        assert store.database.counts() == {}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (b"not a database at all" * 100, "is damaged"),
        (b"", "of version 0"),
        (None, "is missing"),
    ],
)
def test_a_damaged_database_is_told_in_one_sentence(tmp_path: Path, damage: bytes | None, told: str) -> None:
    folder = filled(tmp_path / "store", 2)
    path = folder / "store.sqlite"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(StoreError, match=f"{told}.*copy"):
        Store(folder)


def test_a_database_of_another_version_or_another_store_is_refused(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store", 2)
    path = folder / "store.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(StoreError, match="of version 7, this program knows version 1"):
        Store(folder)
    path.write_bytes((filled(tmp_path / "other", 1) / "store.sqlite").read_bytes())
    Store(folder).close()  # equal contracts: a copy of the same store's database
    content = json.loads((folder / "contract.json").read_text())
    (folder / "contract.json").write_text(json.dumps(content | {"entries": 2}))
    with pytest.raises(StoreError, match="different stores"):
        Store(folder)


def test_a_trained_index_that_has_changed_is_refused(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store", 2)
    path = folder / "contract" / "trained.index"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with Store(folder) as store, pytest.raises(StoreError, match="repair"):
        _ = store.codec


def test_indexes_whose_codes_cannot_be_added_again_are_refused(tmp_path: Path) -> None:
    for factory in ("Flat", "IVF8,PQ4x4fs", "HNSW32"):
        with pytest.raises(ValueError, match=r"a store (needs|can't keep)"):
            create_store(tmp_path / "s", contract(), trained_bytes(factory, references=0), [], {})


def test_a_name_that_is_taken_gets_the_id(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store", 1)
    with Store(folder) as store:
        assert free_name(store.database, "0000.PNG", 255) == "0000.ff.PNG"
        assert free_name(store.database, "a/0000.png", 255) == "a/0000.png"
