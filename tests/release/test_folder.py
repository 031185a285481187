"""Runs that are killed, repeated, or find another run's files in their folder."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import active_indexing
from active_indexing.artefacts.csv_tables import parse_id_cell
from active_indexing.artefacts.journal import KeyedJournal
from active_indexing.images.inventory import content_id
from active_indexing.release import image
from tests.conftest import Toy
from tests.runs import flags, released, settings_of, stamps, tables, take_images

COUNT = 6
TRAINED_ON_FEW = "warning: IVF4,PQ4x4 wants 624 training descriptors; 300 make a poor index."


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("indexes")


@pytest.fixture
def quick(toy: Toy, indexes: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings of a run in ``tmp_path``, on photos of its own."""
    photos = take_images(toy, tmp_path / "photos", COUNT)
    return settings_of(toy, indexes, data_dir=photos, output_dir=tmp_path / "out", baseline=False)


def run(settings: dict[str, Any], **more: Any) -> Path:
    config = active_indexing.configure(**(settings | more))
    active_indexing.run(config)
    return config.output_dir


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the released files that are written from now on."""
    names: list[str] = []
    write = image.write_bytes

    def watched(path: Path, content: bytes) -> None:
        if "imgs" in path.parts:  # not the files of the passive baseline, which are there for a moment
            names.append(path.name)
        write(path, content)

    monkeypatch.setattr(image, "write_bytes", watched)
    return names


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, f"it ended: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def started(settings: dict[str, Any]) -> Iterator[subprocess.Popen]:
    """The program in a process group of its own, killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "active_indexing", *flags(settings)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def descendants(group: int) -> set[int]:
    """Processes of a session, running or not yet reaped by a parent that is alive."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[3]) == group and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


FORKING = """
import os, sys
import active_indexing.pipeline
from active_indexing.cli import main
for line in sys.stdin:
    child = os.fork()
    if not child:
        os._exit(main.main(line.rstrip("\\n").split("\\t")))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_like_one_that_was_not(
    toy: Toy, quick: dict[str, Any], tmp_path: Path
) -> None:
    take_images(toy, tmp_path / "photos", 24)
    quick["baseline"] = True
    output, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    run(quick, output_dir=undisturbed)
    before: dict[str, tuple[int, int]] = {}
    with subprocess.Popen(
        [sys.executable, "-c", FORKING],  # imports once, forks once a run
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for stage, enough in {"release": 6, "retrieval": 3, "copy_detection": 3}.items():
            process.stdin.write("\t".join(flags(quick)) + "\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            journal = output / ".journal" / f"{stage}.jsonl"
            wait_for(lambda path=journal, count=enough: lines(path) >= count, process)  # type: ignore[misc]
            if stage == "retrieval":
                with pytest.raises(BlockingIOError, match=r"another run is writing to .*out; wait until"):
                    run(quick)
            os.kill(child, signal.SIGKILL)
            assert int(process.stdout.readline()) == signal.SIGKILL, "it ended before it was killed"
            assert not (output / "run.json").exists()
            found = stamps(output)
            assert found.items() >= before.items()
            before = recorded(output / ".journal" / "release.jsonl", found)
            assert 4 <= len(before) <= 24
        process.stdin.close()
    assert len(before) == 24
    run(quick)
    assert stamps(output) == before
    assert tables(output) == tables(undisturbed)
    assert released(output) == released(undisturbed)


def recorded(journal: Path, found: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Those files that a killed run had put on record."""
    items = journal.read_text()
    return {name: stamp for name, stamp in found.items() if f'/{name}", "status": "released"' in items}


def wait_for_no_descendants(group: int) -> None:
    deadline = time.monotonic() + 20
    while descendants(group):
        assert time.monotonic() < deadline, f"left behind: {descendants(group)}"
        time.sleep(0.05)


@pytest.mark.slow
def test_an_interrupted_run_leaves_with_130_and_no_process_behind(
    toy: Toy, quick: dict[str, Any], tmp_path: Path
) -> None:
    take_images(toy, tmp_path / "photos", 12)
    settings = quick | {"workers": 2, "use_attacks_2": True}
    with started(settings) as process:
        wait_for(lambda: lines(tmp_path / "out" / ".journal" / "retrieval.jsonl") >= 3, process)
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches every process of a terminal
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        told = told.removeprefix(f"{TRAINED_ON_FEW}\n")  # unless an earlier test has trained the index
        assert told == "interrupted; run the same command again to go on.\n"
        wait_for_no_descendants(process.pid)


def test_a_finished_run_repeated_does_nothing_and_leaves_the_same(
    quick: dict[str, Any], written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = run(quick)
    before, marks = tables(output), stamps(output)
    journals = {path: path.read_bytes() for path in (output / ".journal").iterdir()}
    assert len(written) == COUNT
    monkeypatch.setattr("active_indexing.attacks.jobs.perform", None)  # an attack would be an error
    run(quick)
    assert len(written) == COUNT
    assert (tables(output), stamps(output)) == (before, marks)
    assert {path: path.read_bytes() for path in (output / ".journal").iterdir()} == journals
    assert (output / "run.json").exists()


def test_only_what_changed_is_done_again(
    toy: Toy, quick: dict[str, Any], tmp_path: Path, written: list[str]
) -> None:
    output, photos = run(quick), tmp_path / "photos"
    first = sorted(photos.glob("*.png"))
    written.clear()

    shutil.copy(toy.images / "01.png", first[0])  # another picture under an old name
    run(quick)
    assert written == [f"{first[0].name}.{content_id(first[0])}.png"]
    written.clear()

    shutil.copy(toy.images / "02.png", photos / "added.png")
    first[1].unlink()
    os.utime(first[2])  # touched: the same bytes
    (output / "imgs" / first[3].name).write_bytes(b"damaged")
    run(quick)
    assert sorted(written) == sorted(["added.png", first[3].name])
    fresh = run(quick, output_dir=tmp_path / "fresh")
    manifest, current = (pd.read_csv(each / "manifest.csv") for each in (output, fresh))
    assert manifest["source"].to_list()[: len(current)] == current["source"].to_list()
    assert manifest["source"].to_list()[len(current) :] == [str(first[0]), str(first[1])]
    assert manifest["id"].to_list()[: len(current)] == current["id"].to_list()
    assert first[1].name in released(output).keys() - released(fresh).keys()  # kept: it may be published


def test_other_evaluation_settings_keep_the_released_images(
    quick: dict[str, Any], written: list[str], tmp_path: Path
) -> None:
    output = run(quick)
    written.clear()
    run(quick, kneighbors=3, nprobe=2)
    assert not written
    assert tables(output) == tables(run(quick, kneighbors=3, nprobe=2, output_dir=tmp_path / "fresh"))


def test_a_skipped_input_is_tried_again(quick: dict[str, Any], tmp_path: Path, toy: Toy) -> None:
    bad = tmp_path / "photos" / "bad.png"
    bad.write_bytes(b"")
    output = run(quick)
    size = (output / ".journal" / "release.jsonl").stat().st_size
    run(quick)
    assert (output / ".journal" / "release.jsonl").stat().st_size == size
    shutil.copy(toy.images / "02.png", bad)
    run(quick)
    statuses = pd.read_csv(output / "manifest.csv").set_index("source")["status"]
    assert statuses[str(bad)] == "released"
    assert tables(output) == tables(run(quick, output_dir=tmp_path / "fresh"))


def test_a_torn_last_line_costs_one_image_and_changes_nothing(
    quick: dict[str, Any], written: list[str]
) -> None:
    output = run(quick)
    before = tables(output)
    for journal in (output / ".journal").iterdir():
        content = journal.read_bytes()
        journal.write_bytes(content[: len(content) - len(content.splitlines()[-1]) // 2])
    written.clear()
    run(quick)
    assert len(written) == 1
    assert tables(output) == before


def test_leftovers_of_a_killed_run_are_cleared_away(quick: dict[str, Any]) -> None:
    output = run(quick)
    for name in (".writing-abc.tmp", "imgs/.writing-x.tmp", "imgs/more/.writing-y.tmp"):
        (output / name).write_bytes(b"half")
    (output / "mine.tmp").write_bytes(b"mine")
    run(quick)
    assert not list(output.rglob(".writing*"))
    assert (output / "mine.tmp").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"iterations": 3},
            "holds a run with other settings: --iterations was 2 and is now 3. Choose another",
        ),
        ({"active": False}, "other settings: --active was True and is now False. Choose"),
        ({"seed": 5, "psnr": 40.0}, "--psnr was None and is now 40.0; --seed was 0 and is now 5. Choose"),
        ({"save_format": "jpeg"}, "--save_format was png and is now jpeg. Choose"),
        (
            {"save_format": "webp", "save_quality": 9},
            "--save_format was png and is now webp; --save_quality was None and is now 9. Choose",
        ),
        ({"entries": 2}, "other settings: --entries was 1 and is now 2. Choose"),
        ({"idx_factory": "Flat"}, "--idx_factory was IVF4,PQ4x4 and is now Flat"),
        ({"resize_size": 33}, "it was made with another descriptor"),
    ],
    ids=str,
)
def test_a_folder_of_other_settings_is_an_error_that_names_them(
    quick: dict[str, Any], indexes: Path, more: dict[str, Any], message: str
) -> None:
    bare = quick | {"eval_retrieval": False, "eval_icd": False, "idx_factory": "IVF4,PQ4x4"}
    if "resize_size" in more:
        more = more | {"idx_dir": indexes / "other"}
    output = run(bare)
    before = released(output)
    with pytest.raises(ValueError, match=message) as told:
        run(bare, **more)
    assert "or --existing overwrite to replace it." in str(told.value)
    assert (output / "run.json").exists()
    assert released(output) == before


def test_overwrite_removes_what_the_earlier_run_wrote_and_nothing_else(
    quick: dict[str, Any], tmp_path: Path, toy: Toy
) -> None:
    quick["baseline"] = True
    output = run(quick, log_freq=1)
    (output / "imgs" / "more" / "mine.txt").write_text("mine")
    for path in (tmp_path / "photos").glob("*.png"):
        path.unlink()
    run(quick, existing="overwrite", active=False, eval_icd=False, eval_retrieval=False)
    kept = {path.relative_to(tmp_path / "photos") for path in (tmp_path / "photos").rglob("*.jpg")}
    assert released(output).keys() == {*(str(path.with_suffix(".png")) for path in kept), "more/mine.txt"}
    assert sorted(path.name for path in output.iterdir()) == [
        ".journal", "failures.csv", "imgs", "manifest.csv", "references.csv", "run.json", "run_log.jsonl",
    ]  # fmt: skip
    assert (pd.read_csv(output / "manifest.csv")["linf"] == 0).all()
    run(quick, existing="overwrite")
    assert tables(output) == tables(run(quick, output_dir=tmp_path / "fresh"))


def test_a_released_file_is_never_overwritten_by_another_input(quick: dict[str, Any], tmp_path: Path) -> None:
    """The first input left the folder, its released file may be published; the next has the same stem."""
    photos, bare = tmp_path / "photos", quick | {"eval_retrieval": False, "eval_icd": False}
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photos / "same.bmp")
    output = run(bare)
    first = released(output)["same.png"]
    (photos / "same.bmp").unlink()
    Image.fromarray(pixels[::-1]).save(photos / "same.webp")
    run(bare)
    assert released(output)["same.png"] == first
    assert "same.webp.png" in released(output)


@pytest.mark.parametrize("written_first", [False, True])
def test_names_of_a_killed_run_stay_with_their_images(
    quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_first: bool
) -> None:
    """Stopped before a write, or after it, twice; all pictures want ``same.jpg``, two are transparent."""
    photos = tmp_path / "photos"
    shutil.rmtree(photos)
    photos.mkdir()
    for number, ending in enumerate(("bmp", "jpg", "png", "tiff", "webp")):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 4), dtype=np.uint8)
        Image.fromarray(pixels if ending in ("png", "tiff") else pixels[..., :3]).save(
            photos / f"same.{ending}"
        )
    settings = quick | {"eval_retrieval": False, "eval_icd": False, "save_format": "jpeg"}
    write = image.write_bytes

    def stopped(path: Path, content: bytes) -> None:
        if written_first:
            write(path, content)
        raise KeyboardInterrupt

    def one_more(path: Path, content: bytes) -> None:
        write(path, content)
        monkeypatch.setattr(image, "write_bytes", stopped)

    for _ in range(2):
        monkeypatch.setattr(image, "write_bytes", one_more)
        with pytest.raises(KeyboardInterrupt):
            run(settings)
    monkeypatch.setattr(image, "write_bytes", write)
    run(settings)
    assert (tmp_path / "out" / "run.json").exists()
    assert released(tmp_path / "out").keys() == {
        "same.bmp.jpg", "same.jpg", "same.png", "same.tiff.png", "same.webp.jpg",
    }  # fmt: skip
    assert released(tmp_path / "out") == released(run(settings, output_dir=tmp_path / "undisturbed"))


def test_a_picture_that_becomes_transparent_keeps_both_files(quick: dict[str, Any], tmp_path: Path) -> None:
    photo, bare = tmp_path / "photos" / "new.png", quick | {"eval_retrieval": False, "eval_icd": False}
    opaque = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    transparent = opaque.copy()
    transparent.putalpha(90)
    as_jpeg = bare | {"save_format": "jpeg"}
    expected: set[str] = set()
    for picture, ending in ((opaque, ".jpg"), (transparent, None), (opaque, ".jpg")):
        picture.save(photo)
        expected.add(f"new{ending}" if ending else f"new.png.{content_id(photo)}.png")
        output = run(as_jpeg)
        found = {each for each in released(output) if each.startswith("new")}
        assert found == expected, "nothing that was published goes"
        assert stamps(run(as_jpeg)) == stamps(output)
    photo.write_bytes(b"")  # skipped: what was published stays
    assert "new.jpg" in released(run(as_jpeg))
    photo.unlink()
    opaque.save(photo.with_suffix(".webp"))
    assert {each for each in released(run(as_jpeg)) if each.startswith("new")} == {*expected, "new.webp.jpg"}


def test_a_second_run_in_the_same_folder_is_refused(quick: dict[str, Any], tmp_path: Path) -> None:
    output = run(quick | {"eval_retrieval": False, "eval_icd": False})
    path = output / ".journal" / "release.jsonl"
    header = json.loads(path.read_bytes().splitlines()[0])
    with (
        KeyedJournal(path, header),
        pytest.raises(
            BlockingIOError, match=r"another run is writing to .*out; wait until it ends, or choose"
        ),
    ):
        run(quick)
    assert (output / "run.json").exists()


def entries_of(output: Path) -> list[np.ndarray]:
    """What a finished run's journal holds for the index, in the order of its lines."""
    lines = (output / ".journal" / "release.jsonl").read_text().splitlines()
    items = [json.loads(line) for line in lines[1:]]
    packed = {item["key"]: item["entries"] for item in items if item.get("entries")}
    values = [
        np.frombuffer(base64.b64decode(e["float32"]), "<f4").reshape(e["shape"]) for e in packed.values()
    ]
    return sorted(values, key=lambda rows: rows.tobytes())


@pytest.mark.parametrize("active", [True, False])
def test_every_image_is_in_the_index_with_all_its_entries(
    quick: dict[str, Any], tmp_path: Path, active: bool
) -> None:
    one = run(quick, active=active)
    four = run(quick, active=active, entries=4, output_dir=tmp_path / "four")
    counts = [json.loads((output / "run.json").read_text())["index"]["entries"] for output in (one, four)]
    assert counts == [500 + COUNT, 500 + 4 * COUNT]
    for alone, among in zip(entries_of(one), entries_of(four), strict=True):
        assert alone.shape == (1, 64)
        assert among.shape == (4, 64)
    firsts = {rows[0].tobytes() for rows in entries_of(four)}
    assert firsts == {rows[0].tobytes() for rows in entries_of(one)}, "the first is what the method wants"
    assert released(one) == released(four), "more entries change nothing that is published"
    answers = pd.read_csv(four / "retr_df.csv")
    assert len(answers) == 15 * COUNT
    for ids in answers["retrieved_indices"].map(parse_id_cell):
        assert len(set(ids.tolist())) == len(ids) == 20


def test_a_run_with_several_entries_goes_on_where_it_was_stopped(
    quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick | {"entries": 3}
    undisturbed = run(settings, output_dir=tmp_path / "undisturbed")
    write, count = image.write_bytes, 0

    def stopped(path: Path, content: bytes) -> None:
        nonlocal count
        count += 1
        if count > COUNT // 2:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(image, "write_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    monkeypatch.setattr(image, "write_bytes", write)
    assert tables(run(settings)) == tables(undisturbed)
    assert [a.tobytes() for a in entries_of(tmp_path / "out")] == [
        b.tobytes() for b in entries_of(undisturbed)
    ]


def test_answers_with_another_number_of_entries_are_not_used_again(
    quick: dict[str, Any], tmp_path: Path
) -> None:
    passive = quick | {"active": False}  # the released files stay the same
    run(passive)
    output = run(passive, entries=8, existing="overwrite")
    assert tables(output) == tables(run(passive, entries=8, output_dir=tmp_path / "fresh"))
