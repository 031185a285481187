"""From folders of images to a store, and what a full disk or a folder for reading only do."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from active_indexing.artefacts.identity import sha256_file
from active_indexing.pipeline import run
from active_indexing.query.lookup import Lookup
from active_indexing.store.archive import Store
from active_indexing.store.errors import StoreError
from active_indexing.store.verify import verify
from tests.conftest import Toy
from tests.store.worlds import some, toy_config, toy_release


def test_a_row_tells_what_was_released(toy: Toy, tmp_path: Path) -> None:
    photos, store = some(toy, tmp_path / "photos", slice(0, 3)), tmp_path / "store"
    outcome = toy_release(toy, photos, store)
    assert (len(outcome.released), outcome.known, outcome.skipped) == (3, [], [])
    with Store(store, writable=True) as opened:
        for row in opened.database.rows():
            source = photos / Path(row.source).name
            assert row.source_sha256 == sha256_file(source)
            assert row.released_sha256 == sha256_file(row.path(store))
            assert row.released == f"released/{source.stem}.png"
            with Image.open(source) as image:
                assert (row.width, row.height) == image.size
            assert row.psnr == float("inf"), "released as it is"
        assert verify(opened).damage == []
        last = opened.database.last_run()
        assert last["released"] == 3
        assert last["settings"]["config"]["seed"] == 0


def test_the_second_day_releases_what_is_new(toy: Toy, tmp_path: Path) -> None:
    photos, store = some(toy, tmp_path / "photos", slice(0, 3)), tmp_path / "store"
    toy_release(toy, photos, store)
    before = {path.name: path.stat().st_mtime_ns for path in (store / "released").iterdir()}
    some(toy, photos, slice(2, 5))
    shutil.copy(photos / "00.png", photos / "again.png")  # known by its hash, whatever its name
    shutil.copy(store / "released" / "01.png", photos / "ours.png")
    shutil.copy(photos / "05.png", photos / "twin.png") if (photos / "05.png").exists() else None
    outcome = toy_release(toy, photos, store)
    assert len(outcome.released) == 2
    assert {path.name for path, _ in outcome.known} >= {"again.png", "ours.png", "00.png"}
    after = {path.name: path.stat().st_mtime_ns for path in (store / "released").iterdir()}
    assert {name: after[name] for name in before} == before


def test_equal_names_of_two_folders_do_not_meet(toy: Toy, tmp_path: Path) -> None:
    first, second = some(toy, tmp_path / "a", slice(0, 1)), some(toy, tmp_path / "b", slice(1, 2))
    (second / "01.png").rename(second / "00.PNG")
    toy_release(toy, first, tmp_path / "store")
    (row,) = toy_release(toy, second, tmp_path / "store").released
    assert row.released == f"released/00.{row.id:x}.PNG"
    assert sha256_file(row.path(tmp_path / "store")) == row.released_sha256


def test_twins_broken_files_and_removed_images_are_told(toy: Toy, tmp_path: Path) -> None:
    photos, store = some(toy, tmp_path / "photos", slice(0, 2)), tmp_path / "store"
    shutil.copy(photos / "00.png", photos / "twin.png")
    (photos / "broken.png").write_bytes(b"no image")
    outcome = toy_release(toy, photos, store)
    reasons = {path.name: reason for path, reason in outcome.skipped}
    assert reasons.keys() == {"twin.png", "broken.png"}
    assert reasons["twin.png"].endswith("00.png")
    with Store.writing(store) as opened:
        assert len(opened.database.last_run()["failures"]) == 2
        opened.remove(outcome.released[0].id)
    again = toy_release(toy, photos, store)
    assert {path.name for path, _ in again.removed} == {"00.png", "twin.png"}
    assert again.released == []


def test_an_activated_image_is_found_again_by_the_store(toy: Toy, tmp_path: Path) -> None:
    photos, store = some(toy, tmp_path / "photos", slice(0, 2)), tmp_path / "store"
    toy_release(toy, photos, store, active=True, iterations=2, views=0, entry_views=2, entries=2)
    with Lookup(store) as lookup:
        rows = list(lookup.store.database.rows())
        assert all(30 < row.psnr < 60 for row in rows)
        assert lookup.store.contract.method == "perceptual"
        with Image.open(rows[0].path(store)) as image:
            answer = lookup.ask(image.convert("RGB").resize((image.width - 2, image.height - 1)))
        assert answer.best.id == rows[0].id


def test_settings_that_do_not_fit_are_refused_by_name(toy: Toy, tmp_path: Path) -> None:
    photos, store = some(toy, tmp_path / "photos", slice(0, 1)), tmp_path / "store"
    toy_release(toy, photos, store)
    for settings, told in (
        ({"entries": 2}, r"--entries\) \(1 in the store, 2 now"),
        ({"resize_size": 33, "idx_dir": tmp_path / "of_33"}, "the preprocessing of the descriptor"),
        ({"fts_training_path": toy.references, "idx_dir": tmp_path / "idx"}, "the training of the index"),
        ({"active": True}, r"the activation method .* \(passive in the store, perceptual now\)"),
    ):
        with pytest.raises(StoreError, match=told):
            toy_release(toy, photos, store, **settings)


def test_a_run_of_the_published_program_fills_a_store_with_what_stays_in_its_folder(
    toy: Toy, tmp_path: Path
) -> None:
    photos, store = some(toy, tmp_path / "photos", slice(0, 2)), tmp_path / "store"
    config = toy_config(
        toy,
        photos,
        output_dir=tmp_path / "out",
        store=store,
        eval_retrieval=False,
        eval_icd=False,
        report=False,
    )
    for _ in range(2):  # resumed, it adds nothing
        run(config)
    with Store(store, writable=True) as opened:
        rows = list(opened.database.rows())
        assert [row.path(store) for row in rows] == [
            (tmp_path / "out" / "imgs" / name).resolve() for name in ("00.png", "01.png")
        ]
        assert verify(opened).damage == []
        assert opened.remove(rows[0].id).path(store).exists(), (
            "what is kept elsewhere is not the store's to delete"
        )
    with pytest.raises(ValueError, match="--save_imgs True"):
        toy_config(toy, photos, store=store, save_imgs=False)


def in_a_process(function: Callable[[], None]) -> int:
    """Exit code of a function in a process of its own, whose limits may be lowered: 7 for a StoreError."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        except StoreError as error:
            print(error)
            code = 7
        except OSError as error:
            print(error)
            code = 8
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_full_disk_is_told_and_leaves_nothing_worse(
    toy: Toy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos, store = some(toy, tmp_path / "photos", slice(0, 12)), tmp_path / "store"
    toy_release(toy, some(toy, tmp_path / "first", slice(20, 22)), store)

    def full() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, 16_000))  # the log of the database reaches it soon
        toy_release(toy, photos, store)

    assert in_a_process(full) in (7, 8)
    told = capfd.readouterr().out
    assert "the disk" in told
    assert "run the same command again" in told
    with Store(store, writable=True) as opened:
        assert opened.database.count_released() >= 2
        assert [each for each in verify(opened).damage if each.fix is None] == []
    outcome = toy_release(toy, photos, store)  # with room again, the same command completes it
    with Store(store, writable=True) as opened:
        assert opened.database.count_released() == 14
        assert len(outcome.known) + len(outcome.released) == 12
        assert verify(opened).damage == []


@pytest.mark.skipif(os.getuid() != 0, reason="another user is needed, who may read and not write")
def test_a_store_for_reading_only_answers_and_refuses_to_be_written(
    toy: Toy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos, store = some(toy, tmp_path / "photos", slice(0, 3)), tmp_path / "store"
    toy_release(toy, photos, store)
    for path in (*tmp_path.parents, tmp_path):
        if path.stat().st_mode & 0o5 != 0o5:
            path.chmod(path.stat().st_mode | 0o5)
    query = np.asarray(Image.open(photos / "01.png").convert("RGB"))[1:]

    def ask() -> None:
        os.setgid(65534)
        os.setuid(65534)
        with Lookup(store) as lookup:
            assert lookup.ask(query).best is not None
        verify(Store(store), record=False)

    def write() -> None:
        os.setgid(65534)
        os.setuid(65534)
        with Store.writing(store):
            pass

    assert in_a_process(ask) == 0
    assert in_a_process(write) in (7, 8)
    assert "can't be written to (Permission denied)" in capfd.readouterr().out
