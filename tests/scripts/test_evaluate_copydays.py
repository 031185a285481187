from __future__ import annotations

import csv
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from active_indexing.evaluation.protocols import copydays
from active_indexing.evaluation.protocols.copydays import CopydaysData
from active_indexing.extraction.named_descriptors import NamedDescriptors
from data import prepare_copydays
from scripts import evaluate_copydays
from tests.conftest import Toy, pattern

CPU = torch.device("cpu")


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def flags(toy: Toy, root: Path, out: Path) -> list[str]:
    # One image per pass: the same file then has the same descriptor to the last bit.
    model = ["--model_name", "torchscript", "--model_path", str(toy.model), "--resize_size", str(toy.size)]
    cheap = ["--bootstrap", "20", "--workers", "0", "--batch_size", "1"]
    folders = ["--copydays_path", str(root / "copydays"), "--distractor_path", str(root / "distractors")]
    return [*folders, "--output_dir", str(out), *model, *cheap]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two originals, whose copies are the same files; the distractors are two files of original 1.

    The second strong copy belongs to original 0 by its name, but is a file of original 1.
    """
    root = tmp_path_factory.mktemp("copydays")
    rng = np.random.default_rng(3)
    folder = root / "copydays"
    originals = [folder / "original" / f"200{group}00.jpg" for group in (0, 1)]
    originals[0].parent.mkdir(parents=True)
    for path in originals:
        Image.fromarray(pattern(rng, 24, 30)).save(path, quality=90)
    copies = {
        folder / "jpegqual/75/200000.jpg": 0,
        folder / "jpegqual/75/200100.jpg": 1,
        folder / "crops/10/a.jpg": 0,
        folder / "crops/10/b.jpg": 1,
        folder / "strong/200001.jpg": 0,
        folder / "strong/200002.jpg": 1,
        folder / "crops/99/200000.jpg": 1,  # no block of Copydays
        root / "distractors/x.jpg": 1,
        root / "distractors/more/y.jpg": 1,
    }
    for target, original in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(originals[original], target)
    return root


def known_answers() -> dict[str, float]:
    # Original 1 and its copies have both distractors at distance 0, too; those count as first: place 2.
    plain = (1 + (0 + 1 / 3) / 2) / 2
    # The second strong copy has original 1 and both distractors before original 0: place 3.
    strong = (1 + (0 + 1 / 4) / 2) / 2
    # All pairs: at distance 0 lie 3 x 2 + 3 wrong ones, then 7 right ones; then come all pairs of two
    # different pictures, 15 wrong ones and the right one of the second strong copy.
    steps = sum((t / (9 + t) + (t + 1) / (10 + t)) / 2 for t in range(7))
    overall = (steps + (7 / 31 + 8 / 32) / 2) / 8
    return {"original": plain, "strong": strong, "jpegqual/75": plain, "crops/10": plain, "overall": overall}


def test_the_whole_protocol_gives_the_known_answers(
    made_up: Path, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_copydays.main([*flags(toy, made_up, tmp_path), "--metadata", "toy"]) == 0
    printed = capsys.readouterr()
    known = known_answers()
    assert "codec Flat, 8 queries" in printed.out
    assert f"strong mAP       {known['strong']:.5f}  (95 % interval" in printed.out
    assert "note: not the whole of Copydays (original 2 of 157, strong 2 of 229" in printed.err
    (row,) = table(tmp_path / "copydays_metrics.csv")
    assert list(row)[:3] == ["codec", "strong_mAP", "overall_uAP"]
    assert (row["codec"], row["metadata"]) == ("Flat", "toy")
    assert float(row["strong_mAP"]) == pytest.approx(known["strong"])
    assert float(row["overall_uAP"]) == pytest.approx(known["overall"])
    assert float(row["overall_uAP_low"]) <= known["overall"] <= float(row["overall_uAP_high"])
    blocks = {row["block"]: float(row["mAP"]) for row in table(tmp_path / "copydays_blocks.csv")}
    del known["overall"]
    assert blocks == pytest.approx(known)


def test_codecs_are_fitted_to_images_of_their_own_or_skipped(
    made_up: Path, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*flags(toy, made_up, tmp_path), "--bootstrap", "0"]
    assert evaluate_copydays.main([*command, "--codecs", "PCAW4,L2norm,Flat"]) == 1
    assert "codec PCAW4,L2norm,Flat skipped: codec 'PCAW4,L2norm,Flat' is fitted" in capsys.readouterr().err
    fitted = ["--codecs", "Flat;PCAW4,L2norm,Flat", "--codec_train_path", str(toy.references)]
    assert evaluate_copydays.main([*command, *fitted]) == 0
    rows = table(tmp_path / "copydays_metrics.csv")
    assert [row["codec"] for row in rows] == ["Flat", "PCAW4,L2norm,Flat"]
    assert list(rows[0]) == ["codec", "strong_mAP", "overall_uAP"]
    assert rows[0]["strong_mAP"] == rows[1]["strong_mAP"]  # the copies are the same files, whitened or not


def test_more_originals_of_one_group_are_all_right_answers() -> None:
    assert copydays.right_originals("strong", ["200001"], ["200000", "200010", "2001"]) == [[0, 1]]
    originals = NamedDescriptors(("200000", "200010"), np.eye(2, 3, dtype=np.float32))
    strong = NamedDescriptors(("200001",), np.array([[0.6, 0.8, 0.0]], dtype=np.float32))
    data = CopydaysData({"original": originals, "strong": strong}, np.array([[0.0, 0.0, 1.0]]))
    result = copydays.evaluate(data, device=CPU)
    assert result.block_map == {"original": 1.0, "strong": 1.0}


def test_copies_are_matched_by_name_before_they_are_matched_by_place() -> None:
    assert copydays.right_originals("crops/10", ["b"], ["a", "b"]) == [[1]]
    assert copydays.right_originals("crops/10", ["x", "y"], ["a", "b"]) == [[0], [1]]


def test_copies_that_belong_to_no_original_are_refused() -> None:
    with pytest.raises(ValueError, match="strong/300001 begins like no original"):
        copydays.right_originals("strong", ["200001", "300001"], ["200000"])
    with pytest.raises(ValueError, match="crops/10/ has 1 images under other names than the 2 originals"):
        copydays.right_originals("crops/10", ["x"], ["a", "b"])


def test_a_folder_that_is_not_copydays_is_refused(
    made_up: Path, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = flags(toy, made_up, tmp_path)
    command[1] = str(made_up / "distractors")
    assert evaluate_copydays.main(command) == 2
    assert "holds no original/ with copies in strong/, jpegqual/3/" in capsys.readouterr().err


# Unpacking


def archive(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            file.addfile(about, io.BytesIO(content))


def test_archives_become_the_folders_of_the_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive(tmp_path / "copydays_original.tar.gz", {"200000.jpg": b"o", "README": b"text"})
    archive(tmp_path / "copydays_strong.tar.gz", {"./some/where/200001.jpg": b"s", "../200002.jpg": b"up"})
    archive(tmp_path / "copydays_jpeg.tar.gz", {"jpegqual/3/200000.jpg": b"j", "jpegqual/4/1.jpg": b"no"})
    archive(tmp_path / "copydays_crop.tgz", {"copydays/crops/80/200000.jpg": b"c"})
    out = tmp_path / "out"
    command = ["--data_dir", str(tmp_path), "--output_dir", str(out)]
    assert prepare_copydays.main(command) == 0
    written = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*")}
    assert written == {
        "original/200000.jpg": b"o",
        "strong/200001.jpg": b"s",
        "strong/200002.jpg": b"up",
        "jpegqual/3/200000.jpg": b"j",
        "crops/80/200000.jpg": b"c",
    }
    assert not (tmp_path / "200002.jpg").exists()
    printed = capsys.readouterr().out
    assert f"{out}: 5 images in 4 blocks" in printed
    assert "strong: 2 images, the whole block has 229" in printed
    before = (out / "original/200000.jpg").stat().st_mtime_ns
    assert prepare_copydays.main(command) == 0
    assert (out / "original/200000.jpg").stat().st_mtime_ns == before


def test_the_whole_of_copydays_has_3212_images() -> None:
    assert len(copydays.BLOCKS) == 20
    assert sum(copydays.SIZES.values()) == 157 * 19 + 229


def test_missing_and_damaged_archives_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_copydays.main(["--data_dir", str(tmp_path)]) == 2
    assert "no archives such as copydays_original.tar.gz in" in capsys.readouterr().err
    (tmp_path / "copydays_strong.tar.gz").write_bytes(b"\x1f\x8b not an archive")
    assert prepare_copydays.main(["--data_dir", str(tmp_path)]) == 2
    assert "copydays_strong.tar.gz is damaged or truncated" in capsys.readouterr().err
