"""The files of finished runs, opened once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from active_indexing.artefacts.csv_tables import id_column, parse_answers

METRICS = ("r@1", "r@10", "r@100", "ap")


@dataclass(frozen=True)
class Run:
    """One output folder of ``main.py``.

    Attributes:
        name: of the run in tables and figures.
        folder: output folder.
        content: of its ``run.json``.
        answers: the CSV of its retrieval.
    """

    name: str
    folder: Path
    content: dict[str, Any]
    answers: str = "retr_df.csv"

    @property
    def active(self) -> bool:
        """Whether the images were moved."""
        return bool(self.content.get("config", {}).get("active", False))

    @property
    def larger_is_better(self) -> bool:
        """Whether the index answered with inner products instead of distances."""
        return bool(self.content.get("config", {}).get("index", {}).get("quant") == "IP")

    @property
    def is_grid(self) -> bool:
        """Whether the attacks were the grid of ``--use_attacks_2``."""
        return bool(self.content.get("config", {}).get("evaluation", {}).get("use_attacks_2", False))

    @property
    def evaluated(self) -> int:
        """How many images were attacked; all that were released, in runs that do not say."""
        sample = self.content.get("sample", {})
        return int(sample.get("evaluated", len(self.released)))

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """``manifest.csv``, one row per input; ids are int64, texts are never missing."""
        texts = {"source": str, "released": str, "status": str, "reason": str}
        rows = pd.read_csv(self.folder / "manifest.csv", dtype=texts)
        return rows.fillna(dict.fromkeys(texts, ""))

    @property
    def released(self) -> pd.DataFrame:
        """The rows of released images."""
        return self.manifest[self.manifest["status"] == "released"]

    @property
    def skipped(self) -> pd.DataFrame:
        """The rows of skipped files."""
        return self.manifest[self.manifest["status"] != "released"]

    @cached_property
    def retrieval(self) -> pd.DataFrame | None:
        """``retr_df.csv`` without its lists; ``None`` when the run made no retrieval."""
        # The key says whether the file belongs to this run: an earlier one may have left its own.
        if not self.content.get("retrieval"):
            return None
        columns = ["image_index", "attack", "attack_param", *METRICS]
        kinds = {"attack": str, "attack_param": str}
        return pd.read_csv(self.folder / self.answers, usecols=columns, dtype=kinds, keep_default_na=False)

    @property
    def before(self) -> Run | None:
        """What its images would have got without activation, as a run; ``None`` where it was not measured.

        It has answers alone, no manifest of its own.
        """
        table = self.content.get("passive_retrieval")
        if not table:
            return None
        config = {**self.content["config"], "active": False}
        name = "unchanged" if self.name == "passive" else "passive"
        return Run(name, self.folder, {"config": config, "retrieval": table}, "retr_passive_df.csv")

    @cached_property
    def copy_detection(self) -> pd.DataFrame | None:
        """``icd_df.csv``, lists parsed, ids as ``retrieved_indices``; ``None`` when the run made none."""
        if not self.content.get("copy_detection"):
            return None
        path = self.folder / "icd_df.csv"
        rows = pd.read_csv(path, keep_default_na=False)
        rows = rows.rename(columns={id_column(rows.columns, path): "retrieved_indices"})
        answers = map(parse_answers, rows["retrieved_distances"], rows["retrieved_indices"])
        distances, ids = zip(*answers, strict=True) if len(rows) else ((), ())
        columns = {"retrieved_distances": distances, "retrieved_indices": ids}
        return rows.assign(**{name: pd.Series(lists, dtype=object) for name, lists in columns.items()})

    @cached_property
    def failures(self) -> pd.DataFrame:
        """``failures.csv``, or no rows when there is no such file."""
        return self.table("failures.csv", ("stage", "image_index", "attack", "attack_param", "reason"))

    def table(self, name: str, columns: tuple[str, ...] = ()) -> pd.DataFrame:
        """Another CSV of the folder; ``columns`` without rows when it is not there."""
        path = self.folder / name
        if not path.is_file():
            return pd.DataFrame(columns=list(columns))
        return pd.read_csv(path, dtype={"attack_param": str}, keep_default_na=False)

    def source_path(self, source: str) -> Path | None:
        """The input image of a manifest row, or ``None`` when it is no longer there.

        The manifest names it relative to where the run was started, which is looked for from the output
        folder upwards.
        """
        for base in (Path(), *self.folder.resolve().parents):
            if (base / source).is_file():
                return base / source
        return None

    def short_name(self, source: str) -> str:
        """The input of a manifest row as it is called in its own folder."""
        folder = Path(self.content.get("config", {}).get("data_dir", ""))
        path = Path(source)
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else source

    def released_path(self, released: str) -> Path | None:
        """A released file of a manifest row, or ``None`` when it was not kept."""
        path = self.folder / released
        return path if path.is_file() else None


def open_runs(folders: Iterable[Path]) -> list[Run]:
    """Finished runs, named by their folders.

    Raises:
        FileNotFoundError: a folder holds no finished run.
    """
    folders = [Path(folder) for folder in folders]
    names = [folder.resolve().name for folder in folders]
    unique = [
        name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)
    ]
    return [Run(name, folder, read_run(folder)) for name, folder in zip(unique, folders, strict=True)]


def find_runs(root: Path) -> list[Run]:
    """Every finished run in a folder or directly below it, passive ones first.

    Raises:
        FileNotFoundError: there is none.
    """
    folders = sorted(path.parent for path in (*root.glob("run.json"), *root.glob("*/run.json")))
    if not folders:
        raise FileNotFoundError(f"no finished run in {root} or directly below it: start `make run` first.")
    return sorted(open_runs(folders), key=lambda run: run.active)


def baseline_and_best(runs: list[Run]) -> tuple[Run, Run] | None:
    """The two runs that are compared: the first passive and the last active one, when there are both."""
    passive = [run for run in runs if not run.active]
    active = [run for run in runs if run.active]
    return (passive[0], active[-1]) if passive and active else None


def with_baseline(runs: list[Run]) -> list[Run]:
    """The runs; where none is passive, after what the last one tells of its images as they were."""
    active = [run for run in runs if run.active]
    before = active[-1].before if active and len(active) == len(runs) else None
    return runs if before is None else [before, *runs]


def read_run(folder: Path) -> dict[str, Any]:
    """``run.json`` of an output folder.

    Raises:
        FileNotFoundError: the folder holds no finished run.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no finished run: no run.json. Run main.py --output_dir {folder}."
        )
    return json.loads(path.read_text())
