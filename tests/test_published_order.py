"""ViT4ICD and ISC21's first place, from the first stage to the metrics, on a made-up DISC21.

The commands are those of docs/published_systems.md.
"""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.training.augmentations import isc
from active_indexing.training.augmentations.drawings import draw_all
from active_indexing.training.config import TrainingConfig
from active_indexing.training.optimization.schedules import SizeStage
from active_indexing.training.recipes.registry import recipe
from scripts import evaluate_disc, extract_fts, train_descriptor
from tests.conftest import pattern

PAGE = (Path(__file__).parents[1] / "docs" / "published_systems.md").read_text()
MAINS: dict[str, Callable[[Sequence[str]], int]] = {
    "scripts/train_descriptor.py": lambda arguments: train_descriptor.main(list(arguments)),
    "scripts/extract_fts.py": extract_fts.main,
    "scripts/evaluate_disc.py": evaluate_disc.main,
}
QUERIES, REFERENCES = 5, 24
# A made-up training set is small, and networks are.
SMALLER = {":256:128": ":40:8", ":224:128": ":40:4", ":320:128": ":40:6", ":448:128": ":40:6"}
SMALLER |= {":512:128": ":40:4", ":576:64": ":40:6", ":512:2": ":40:4", "50000": "10"}


def commands(heading: str) -> list[list[str]]:
    """Ours, in the order of the table under a heading."""
    text = PAGE.split(f"{heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    return [shlex.split(found) for found in re.findall(r"\| `python (.+?)` \|$", text, re.MULTILINE)]


def small(arguments: list[str]) -> list[str]:
    """The same command for small networks and few images."""
    for old, new in SMALLER.items():
        arguments = [text.replace(old, new) for text in arguments]
    if arguments[0] == "scripts/train_descriptor.py":
        name = arguments[arguments.index("--recipe") + 1]
        backbone = "test_vit" if re.search("stage[23]", name) else "test_resnet"
        backbone += "@maps" if name.startswith("isc") else ""
        arguments = [*arguments, "--backbone", backbone, "--steps", "2", "--dim", "8"]
        return arguments + (["--classes", "8"] if name.startswith("vit") else [])
    few = ["--bootstrap", "0"] if arguments[0] == "scripts/evaluate_disc.py" else ["--workers", "0"]
    return arguments + few


def small_recipe(name: str) -> TrainingConfig:
    """The recipe with views of 48 pixels."""
    return replace(recipe(name), sizes=(SizeStage(0, 48),), test_size=48)


def write_images(folder: Path, names: Sequence[str], seed: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for name in names:
        Image.fromarray(pattern(rng, 40, 40)).save(folder / name)


@pytest.fixture
def disc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders and files of the commands: queries are the first references, as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_descriptor, "recipe", small_recipe)
    monkeypatch.setattr(isc, "draw_all", lambda seed, count: draw_all(seed, 4))
    torch.manual_seed(0)
    write_images(tmp_path / "D", [f"{identity}_{k}.png" for identity in range(8) for k in range(4)], 0)
    write_images(tmp_path / "training", [f"T{number:06d}.png" for number in range(16)], 1)
    write_images(tmp_path / "reference", [f"R{number:06d}.png" for number in range(REFERENCES)], 2)
    write_images(tmp_path / "pairs", [f"{pair}_{k}.png" for pair in range(4) for k in "qr"], 3)
    (tmp_path / "query").mkdir()
    rows = []
    for number in range(QUERIES):
        shutil.copy(tmp_path / f"reference/R{number:06d}.png", tmp_path / f"query/Q{number + 25005:05d}.png")
        rows.append(f"Q{number + 25005:05d},R{number:06d}\n")
    (tmp_path / "dev_ground_truth_after.csv").write_text("".join(rows))
    torch.save({"state_dict": build_network("test_resnet", 3).state_dict()}, "barlow_twins.pth")
    torch.save({"model": build_network("test_vit", 3).trunk.state_dict()}, "deit_base.pth")
    torch.save(build_network("test_resnet@maps", 3).trunk.state_dict(), "efficientnetv2_m.pth")
    return tmp_path


def test_the_commands_of_the_page_train_extract_normalise_and_measure(
    disc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = commands("### In the published order")
    assert [Path(command[0]).stem for command in listed] == [
        *["train_descriptor"] * 4,
        *["extract_fts"] * 3,
        *["evaluate_disc"] * 2,
    ]
    printed = []
    for command in listed:
        program, *arguments = small(command)
        assert MAINS[program](arguments) == 0, capsys.readouterr().err
        printed.append(capsys.readouterr().out)
    assert sorted(path.name for path in (disc / "features/reference").glob("*.hdf5")) == [
        "fts_0.hdf5",
        "fts_1.hdf5",
        "fts_2.hdf5",
    ]
    block = printed[-1].strip().splitlines()
    # Identical files: whatever was learned in two steps, each query's own reference comes first.
    assert block[0] == f"Track 1 results of 50 predictions ({QUERIES} GT matches)"
    assert block[-2:] == ["Recall at rank 1:  1.00000", "Recall at rank 10: 1.00000"]
    with open(disc / "result/predictions_codec=Flat_norm=2.00[0,9].csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["query_id", "ref_id", "score"]
    assert len(rows) == 10 * QUERIES
    best = {row[0]: row[1] for row in sorted(rows, key=lambda row: float(row[2]))}
    assert best == {f"Q{number + 25005:05d}": f"R{number:06d}" for number in range(QUERIES)}
    assert block[1:] == [line for line in printed[-2].splitlines() if line in block[1:]]


def test_the_steps_of_iscs_first_place_follow_one_another(
    disc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(disc / "reference", disc / "references")
    shutil.copytree(disc / "training", disc / "I")
    listed = commands("## ISC21's first place")
    for command in listed[:4]:
        program, *arguments = small(command)
        assert MAINS[program](arguments) == 0, capsys.readouterr().err
    for letter, folder in (("Q", "query"), ("R", "reference"), ("T", "training")):
        out = f"features/{folder}"
        flags = ["--model_path", "v107/descriptor.pt", "--format", "hdf5", "--workers", "0"]
        assert extract_fts.main(["--data_dir", folder, "--output_dir", out, *flags]) == 0
        shutil.copy(f"{out}/fts.hdf5", f"{letter}.hdf5")
    shutil.copy("dev_ground_truth_after.csv", "G.csv")
    capsys.readouterr()
    program, *arguments = small(listed[4])
    assert MAINS[program](arguments) == 0
    assert "codec NES0.35x10,Flat, score normalisation None" in capsys.readouterr().out
