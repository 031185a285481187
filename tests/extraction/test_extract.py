import csv
import io
import itertools
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.extraction.extract import extract
from active_indexing.extraction.matrix_file import open_descriptors, reference_names
from active_indexing.extraction.named_descriptors import NamedDescriptors, open_set, parts_of, read_hdf5
from active_indexing.extraction.network_inputs import stream_network_inputs
from active_indexing.images import decoding, listing, tensors
from active_indexing.images.listing import CollectionItem, ImageCollection, open_source

DIM = 6


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class ToyNetwork(nn.Module):
    """Mean colours of a 4x4 grid, mixed; stops or fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(48, DIM, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.randn(DIM, 48, generator=torch.Generator().manual_seed(0)))
        self.described = 0
        self.stop_after: int | None = None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.described += len(inputs)
        if self.stop_after is not None and self.described > self.stop_after:
            raise KeyboardInterrupt
        return self.mix(nn.functional.adaptive_avg_pool2d(inputs, 4).flatten(1))


def toy(resize: str = "square") -> Descriptor:
    made = Descriptor(ToyNetwork(), Preprocessing(size=8, resize=resize), model="toy", architecture="linear")
    made.network.described = 0
    return made


def photo(seed: int, size: tuple[int, int] = (9, 12)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    for number in range(11):
        photo(number).save(root / ("sub" if number % 3 == 0 else "") / f"{number:02d}.png")
    return root


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "in_progress"}


def names(folder: Path) -> list[str]:
    return (folder / "filenames.txt").read_text().splitlines()


def skipped(folder: Path) -> list[list[str]]:
    with open(folder / "skipped.csv", newline="") as rows:
        return list(csv.reader(rows))[1:]


def archive(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def png(seed: int) -> bytes:
    file = io.BytesIO()
    photo(seed).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("file_format", ["pth", "npy"])
def test_row_i_is_the_descriptor_of_line_i(folder, tmp_path, file_format):
    out, descriptor = tmp_path / "out", toy()
    done = extract(open_source(folder), descriptor, out, batch_size=4, file_format=file_format)
    assert (done.path, done.count, done.dim, done.skipped) == (out / f"fts.{file_format}", 11, DIM, 0)
    matrix = torch.load(done.path).numpy() if file_format == "pth" else np.load(done.path)
    assert matrix.dtype == np.float32
    assert names(out) == [str(path) for path in listing.find_images(folder)]
    for row, name in zip(matrix, names(out), strict=True):
        expected = descriptor(tensors.to_tensor(decoding.read(Path(name)).srgb)[None])[0]
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-6)


def test_the_files_are_understood_by_the_reader_of_descriptor_files(folder, tmp_path):
    descriptor = toy()
    done = extract(open_source(folder), descriptor, tmp_path / "out")
    opened = open_descriptors(done.path)
    assert len(opened) == 11
    assert opened.made_by == descriptor.fingerprint
    assert reference_names(done.path, 11) == tmp_path / "out" / "filenames.txt"


def test_unreadable_images_are_listed_with_reasons_and_leave_no_row(folder, tmp_path):
    (folder / "00_text.jpg").write_text("no image")
    (folder / "zz_empty.png").write_bytes(b"")
    done = extract(open_source(folder), toy(), tmp_path / "out", batch_size=3)
    assert (done.count, done.skipped) == (11, 2)
    assert len(names(tmp_path / "out")) == len(torch.load(done.path)) == 11
    assert skipped(tmp_path / "out") == [
        [
            str(folder / "00_text.jpg"),
            "not a readable image in a supported format (JPEG, PNG, WebP, TIFF, AVIF, BMP, GIF or JPEG 2000)",
        ],
        [str(folder / "zz_empty.png"), "the file is empty"],
    ]


def test_names_that_a_list_cannot_hold_are_refused_and_odd_ones_kept(tmp_path):
    root, out = tmp_path / "photos", tmp_path / "out"
    root.mkdir()
    odd = os.fsdecode(b'\xff,"odd".png')
    for name in ("two\nlines.png", odd, "写真.png"):
        photo(0).save(root / name)
    assert extract(open_source(root), toy(), out).skipped == 1
    lines = (out / "filenames.txt").read_bytes().split(b"\n")
    assert lines == [os.fsencode(root / "写真.png"), os.fsencode(root / odd), b""]
    assert skipped(out) == [
        [str(root / "two\nlines.png"), "its name holds a line break, which filenames.txt cannot; rename it"]
    ]


def test_images_of_different_input_sizes_are_described_one_by_one(tmp_path):
    root, descriptor = tmp_path / "photos", toy("short_edge")
    root.mkdir()
    for number, size in enumerate([(9, 20), (20, 9), (9, 9)]):
        photo(number, size).save(root / f"{number}.png")
    done = extract(open_source(root), descriptor, tmp_path / "out")
    for row, name in zip(torch.load(done.path), names(tmp_path / "out"), strict=True):
        expected = descriptor(tensors.to_tensor(decoding.read(Path(name)).srgb)[None])[0]
        torch.testing.assert_close(row, expected)


def test_a_descriptor_that_is_not_finite_is_skipped(folder, tmp_path):
    descriptor = toy()
    plain = descriptor.network.forward

    def broken(inputs: torch.Tensor) -> torch.Tensor:
        raw = plain(inputs)
        raw[0] = torch.nan
        return raw

    descriptor.network.forward = broken
    done = extract(open_source(folder), descriptor, tmp_path / "out", batch_size=6)
    assert (done.count, done.skipped) == (9, 2)
    assert torch.isfinite(torch.load(done.path)).all()
    assert {reason for _, reason in skipped(tmp_path / "out")} == {"its descriptor is not finite"}


# Archives


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_gives_the_rows_of_its_images_in_its_own_order(tmp_path, mode):
    members = {"b/1.png": png(1), "._b.png": b"x", "notes.txt": b"x", ".h/2.png": png(2), "a/0.PNG": png(0)}
    done = extract(open_source(archive(tmp_path / "photos.tar", members, mode)), toy(), tmp_path / "out")
    assert names(tmp_path / "out") == ["b/1.png", "a/0.PNG"]
    root = tmp_path / "photos"
    root.mkdir()
    for number in (1, 0):
        (root / f"{number}.png").write_bytes(png(number))
    same = torch.load(extract(open_source(root), toy(), tmp_path / "same").path)
    torch.testing.assert_close(torch.load(done.path), same.flip(0), rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_truncated_archive_is_an_error_and_leaves_no_result(tmp_path, mode):
    whole = archive(tmp_path / "photos.tar", {f"{n}.png": png(n) for n in range(9)}, mode).read_bytes()
    (tmp_path / "photos.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"photos.tar is damaged or truncated after \d images"):
        extract(open_source(tmp_path / "photos.tar"), toy(), tmp_path / "out")
    assert content(tmp_path / "out") == {}


def test_an_archive_that_was_cut_between_two_images_is_noticed(tmp_path):
    path = archive(tmp_path / "photos.tar", {"0.png": png(0), "1.png": png(1)})
    with tarfile.open(path) as tar:
        second = tar.getmembers()[1].offset
    path.write_bytes(path.read_bytes()[:second])
    with pytest.raises(ValueError, match=r"truncated after 1 images \(no end mark\)"):
        extract(open_source(path), toy(), tmp_path / "out")


def test_what_holds_no_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no images in .*looked, in sub-folders too"):
        open_source(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder or archive .*give --data_dir a folder or a .tar"):
        open_source(tmp_path / "nothing")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match=r"a.txt is neither a folder nor a tar archive"):
        open_source(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"none of the 0 images could be read"):
        extract(open_source(archive(tmp_path / "e.tar", {"a.txt": b"x"})), toy(), tmp_path / "out")


def test_when_nothing_is_readable_only_the_reasons_are_written(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"none of the 1 images could be read; see .*skipped.csv"):
        extract(open_source(tmp_path / "photos"), toy(), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["skipped.csv"]


# Stopping and going on


def stopped_after(count: int) -> Descriptor:
    descriptor = toy()
    descriptor.network.stop_after = count
    return descriptor


@pytest.mark.parametrize("stop", [0, 2, 6, 10])
@pytest.mark.parametrize("packed", [False, True])
def test_a_stopped_extraction_goes_on_and_ends_like_an_undisturbed_one(folder, tmp_path, stop, packed):
    (folder / "03_text.jpg").write_text("no image")
    path = folder
    if packed:
        members = {path.name: path.read_bytes() for path in listing.find_images(folder)}
        path = archive(tmp_path / "photos.tar", members)
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    extract(open_source(path), toy(), undisturbed, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        extract(open_source(path), stopped_after(stop), out, batch_size=2)
    assert content(out) == {}
    descriptor = toy()
    extract(open_source(path), descriptor, out, batch_size=2)
    assert descriptor.network.described <= 12 - stop  # at most one batch of two is done again
    assert content(out) == content(undisturbed)
    assert not (out / "in_progress").exists()


def test_rows_and_lines_that_a_kill_cut_short_are_dropped(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        extract(open_source(folder), stopped_after(4), out, batch_size=2)
    with open(out / "in_progress/descriptors.f32", "ab") as rows:
        rows.write(b"\x01" * (4 * DIM + 3))
    with open(out / "in_progress/journal.jsonl", "ab") as journal:
        journal.write(b'{"names": ["a.p')
    extract(open_source(folder), toy(), out, batch_size=2)
    extract(open_source(folder), toy(), tmp_path / "undisturbed", batch_size=2)
    assert content(out) == content(tmp_path / "undisturbed")


def test_a_kill_between_the_final_files_is_mended(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("active_indexing.extraction.extract.write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            extract(open_source(folder), toy(), out)
    assert not (out / "fts.json").exists()
    descriptor = toy()
    assert extract(open_source(folder), descriptor, out).count == 11
    assert descriptor.network.described == 0
    assert (out / "fts.json").exists()


def test_a_finished_extraction_is_found_and_not_made_again(folder, tmp_path):
    first = extract(open_source(folder), toy(), tmp_path / "out")
    before = content(tmp_path / "out")
    descriptor = toy()
    again = extract(open_source(folder), descriptor, tmp_path / "out")
    assert (first.existed, again.existed) == (False, True)
    assert (again.path, again.count, again.dim) == (first.path, first.count, first.dim)
    assert descriptor.network.described == 0
    assert content(tmp_path / "out") == before


def test_an_extraction_of_something_else_is_never_overwritten(folder, tmp_path):
    extract(open_source(folder), toy(), tmp_path / "out")
    before = content(tmp_path / "out")
    photo(99).save(folder / "new.png")
    with pytest.raises(
        ValueError, match=r"holds an extraction of other images, or by other settings; delete"
    ):
        extract(open_source(folder), toy(), tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_a_started_extraction_of_something_else_is_not_continued(folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        extract(open_source(folder), stopped_after(4), tmp_path / "out", batch_size=2)
    other = toy()
    with torch.no_grad():
        other.network.mix.weight[0, 0] += 1
    with pytest.raises(ValueError, match=r"in_progress holds a started extraction of something else \(desc"):
        extract(open_source(folder), other, tmp_path / "out", batch_size=2)


def test_two_extractions_do_not_write_to_one_folder(folder, tmp_path):
    source = open_source(folder)

    def items(start: int) -> Iterator[CollectionItem]:
        with pytest.raises(BlockingIOError, match="another run"):
            extract(source, toy(), tmp_path / "out")
        return source.items(start)

    outer = ImageCollection(identity=source.identity, unit=source.unit, total=source.total, items=items)
    assert extract(outer, toy(), tmp_path / "out").count == 11


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"workers": -1}, {"file_format": "csv"}])
def test_settings_out_of_range_are_refused(folder, tmp_path, wrong):
    with pytest.raises(ValueError, match=r"expected batch_size >= 1, workers >= 0 and a format of pth, npy"):
        extract(open_source(folder), toy(), tmp_path / "out", **wrong)


def test_the_side_car_says_what_made_the_matrix(folder, tmp_path):
    descriptor = toy()
    extract(open_source(folder), descriptor, tmp_path / "out")
    side_car = json.loads((tmp_path / "out" / "fts.json").read_text())
    assert side_car["descriptor"] == "toy@square8"
    assert side_car["descriptor_fingerprint"] == descriptor.fingerprint
    assert (side_car["file"], side_car["count"], side_car["dim"]) == ("fts.pth", 11, DIM)
    assert side_car["source"]["folder"] == str(folder)


# HDF5


def never(path: Path) -> Path:
    raise AssertionError(f"{path} was described, and it is an HDF5 file")


def test_hdf5_holds_the_rows_under_the_names_of_ground_truths(folder, tmp_path):
    plain = extract(open_source(folder), toy(), tmp_path / "plain", file_format="npy")
    done = extract(open_source(folder), toy(), tmp_path / "out", batch_size=3, file_format="hdf5")
    assert (done.path, done.count) == (tmp_path / "out" / "fts.hdf5", 11)
    for read in (read_hdf5(done.path), open_set([done.path], never)):
        assert read.names == tuple(Path(name).stem for name in names(tmp_path / "plain"))
        np.testing.assert_array_equal(read.vectors, np.load(plain.path))


def test_hdf5_is_what_the_programs_of_the_challenge_read(folder, tmp_path):
    (folder / "写真.png").write_bytes(png(50))
    done = extract(open_source(folder), toy(), tmp_path / "out", file_format="hdf5")
    with h5py.File(done.path) as file:
        assert set(file) == {"vectors", "image_names"}
        assert (file["vectors"].shape, file["vectors"].dtype) == ((12, DIM), np.float32)
        assert file["image_names"].dtype.kind == "S"
        read = {name.decode() for name in file["image_names"][()]}
    assert read == {f"{number:02d}" for number in range(11)} | {"写真"}


def test_hdf5_in_parts_is_read_under_the_common_name(folder, tmp_path):
    whole = extract(open_source(folder), toy(), tmp_path / "whole", file_format="hdf5")
    done = extract(open_source(folder), toy(), tmp_path / "out", file_format="hdf5", part_images=4)
    assert sorted(path.name for path in done.path.parent.glob("*.hdf5")) == [
        f"fts_{number}.hdf5" for number in range(3)
    ]
    read, expected = read_hdf5(done.path), read_hdf5(whole.path)
    assert read.names == expected.names
    np.testing.assert_array_equal(read.vectors, expected.vectors)
    assert extract(open_source(folder), toy(), tmp_path / "out", file_format="hdf5", part_images=4).existed
    with pytest.raises(ValueError, match=r"parts are of HDF5 files and hold at least 1 image, got 4"):
        extract(open_source(folder), toy(), tmp_path / "npy", file_format="npy", part_images=4)


def test_parts_are_numbered_after_the_first_word_of_the_name():
    rows = NamedDescriptors(("a", "b", "c"), np.zeros((3, 2), np.float32))
    parts = list(parts_of(Path("reference_v1.hdf5"), rows, 2))
    assert [(path.name, part.names) for path, part in parts] == [
        ("reference_0_v1.hdf5", ("a", "b")),
        ("reference_1_v1.hdf5", ("c",)),
    ]
    assert [path.name for path, _ in parts_of(Path("reference_v1.hdf5"), rows, 0)] == ["reference_v1.hdf5"]


@pytest.mark.parametrize("stop", [0, 6])
def test_a_stopped_extraction_ends_in_the_same_hdf5_file(folder, tmp_path, stop):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        extract(open_source(folder), stopped_after(stop), out, batch_size=2, file_format="hdf5")
    assert content(out) == {}
    extract(open_source(folder), toy(), out, batch_size=2, file_format="hdf5")
    extract(open_source(folder), toy(), tmp_path / "undisturbed", batch_size=2, file_format="hdf5")
    assert content(out) == content(tmp_path / "undisturbed")
    assert extract(open_source(folder), toy(), out, file_format="hdf5").existed


def test_a_write_of_hdf5_that_stops_leaves_no_file(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("active_indexing.extraction.named_descriptors.as_bytes", stop)
        with pytest.raises(KeyboardInterrupt):
            extract(open_source(folder), toy(), out, file_format="hdf5")
    assert not any(path.suffix in (".hdf5", ".tmp") for path in out.iterdir())
    descriptor = toy()
    assert extract(open_source(folder), descriptor, out, file_format="hdf5").count == 11
    assert descriptor.network.described == 0


def test_two_images_of_one_name_are_refused_in_hdf5_and_kept_in_npy(folder, tmp_path):
    photo(70).save(folder / "sub" / "01.bmp")
    with pytest.raises(ValueError, match=r"/01.png and .*sub/01.bmp would both be called 01 in an"):
        extract(open_source(folder), toy(), tmp_path / "out", file_format="hdf5")
    assert not (tmp_path / "out" / "fts.hdf5").exists()
    descriptor = toy()
    assert extract(open_source(folder), descriptor, tmp_path / "out", file_format="npy").count == 12
    assert descriptor.network.described == 0


# Workers


def test_the_number_of_workers_changes_nothing(folder, tmp_path):
    (folder / "05_text.jpg").write_text("no image")
    for workers in (0, 2):
        extract(open_source(folder), toy(), tmp_path / str(workers), batch_size=4, workers=workers)
    assert content(tmp_path / "0") == content(tmp_path / "2")


def test_images_are_taken_from_the_source_only_as_they_are_needed(folder):
    name = str(next(iter(listing.find_images(folder))))
    taken = 0

    def endless() -> Iterator[CollectionItem]:
        nonlocal taken
        for taken in itertools.count(1):
            yield CollectionItem(name=name, content=None, progress=taken)

    for workers in (0, 1):
        prepared = stream_network_inputs(endless(), Preprocessing(size=8), workers)
        assert [item.progress for item in itertools.islice(prepared, 5)] == [1, 2, 3, 4, 5]
        prepared.close()
        assert taken <= 5 + 16 * workers


def die(pixels: torch.Tensor) -> torch.Tensor:
    os._exit(9)


def test_a_worker_that_dies_is_an_error_with_advice(folder):
    items = open_source(folder).items(0)
    with pytest.raises(
        ChildProcessError, match=r"a worker died \(exit code 9\) while decoding .*01\.png\. If .* use fewer"
    ):
        list(stream_network_inputs(items, die, 1))
