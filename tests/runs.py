"""Runs on a handful of toy images, and what they leave."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.conftest import Toy

CSVS = ("manifest.csv", "retr_df.csv", "icd_df.csv", "failures.csv", "references.csv", "retr_passive_df.csv")


def settings_of(toy: Toy, indexes: Path, **more: Any) -> dict[str, Any]:
    """Settings of a quick run: no worker processes, two steps, a small index, no page."""
    quick: dict[str, Any] = {
        "model_name": "torchscript",
        "model_path": toy.model,
        "resize_size": toy.size,
        "fts_training_path": toy.training,
        "fts_reference_path": toy.references,
        "idx_dir": indexes,
        "idx_factory": "IVF4,PQ4x4",
        "iterations": 2,
        "kneighbors": 20,
        "workers": 0,
        "verbose": 0,
        "device": "cpu",
        "report": False,
        "eval_views": "none",
    }
    return quick | more


def take_images(toy: Toy, folder: Path, count: int, *, backwards: bool = False) -> Path:
    """Images from all over the toy world, created in one order or the other."""
    names = sorted(path.relative_to(toy.images) for path in toy.images.rglob("*.*"))
    names = names[:: len(names) // count][-count:]
    for name in reversed(names) if backwards else names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(toy.images / name, folder / name)
    return folder


def tables(folder: Path, *, without_sources: bool = False) -> dict[str, str]:
    """The CSVs of a run as text; ``without_sources`` leaves out the folder of the inputs."""
    found = {name: (folder / name).read_text() for name in CSVS if (folder / name).exists()}
    if without_sources:
        lines = [line.split(",") for line in found["manifest.csv"].splitlines()]
        found["manifest.csv"] = "\n".join(",".join([*line[:1], *line[2:]]) for line in lines)
    return found


def released(folder: Path) -> dict[str, bytes]:
    """Every file below ``imgs/``, hidden ones too."""
    root = folder / "imgs"
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every released file: equal if it was not written again."""
    paths = [path for path in (folder / "imgs").rglob("*.*") if path.is_file()]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def flags(settings: dict[str, Any]) -> list[str]:
    """The same settings for the command line."""
    return [text for name, value in settings.items() for text in (f"--{name}", str(value))]
