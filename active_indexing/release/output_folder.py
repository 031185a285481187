"""The output folder of a run: one run at a time writes to it, and what earlier ones left is known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts.arrays import unpacked
from active_indexing.artefacts.atomic import remove_leftovers
from active_indexing.artefacts.journal import KeyedJournal, OtherRunError, newest_items
from active_indexing.artefacts.run_log import RUN_LOG
from active_indexing.release.folder import IMAGES, NAMES, remove_images

JOURNALS = ".journal"
"""Folder of the journals below the output folder."""

TABLES = (
    "manifest.csv", "retr_df.csv", "retr_passive_df.csv", "retr_views_df.csv", "icd_df.csv", "failures.csv",
    "references.csv", "activation_log.jsonl", "lost_copies.json", RUN_LOG,
)  # fmt: skip
_FLAGS = {"factory": "idx_factory", "training": "fts_training_path"}


def open_journal(folder: Path, header: dict[str, Any], *, overwrite: bool = False) -> KeyedJournal:
    """Take possession of the output folder: no other run can write to it until the journal is closed.

    ``run.json`` is removed, so that it stands for a finished run, and so are half-written files of a killed
    one. With ``--existing overwrite`` an earlier run's files are removed, and nothing that is not on record.

    Args:
        folder: where a run writes.
        header: what released files depend on, see ``pipeline.release_header``.
        overwrite: remove what an earlier run left instead of going on with it.

    Returns:
        The journal of released images.

    Raises:
        ValueError: the folder holds a run with other settings, or images that no run wrote.
        BlockingIOError: another run is writing to it.
    """
    path = folder / JOURNALS / "release.jsonl"
    _check_images(folder, path)
    try:
        journal = KeyedJournal(
            path,
            header,
            fresh=overwrite,
            on_drop=lambda item: remove_images(folder, [name for _, name in item.get(NAMES, ())]),
        )
    except BlockingIOError as error:
        raise BlockingIOError(
            f"another run is writing to {folder}; wait until it ends, or choose another --output_dir."
        ) from error
    except OtherRunError as error:
        raise ValueError(
            f"{folder} holds a run with other settings: {_told(error)}. Choose another --output_dir, "
            "or --existing overwrite to replace it."
        ) from error
    (folder / "run.json").unlink(missing_ok=True)
    if overwrite:
        for name in TABLES:
            (folder / name).unlink(missing_ok=True)
    remove_leftovers([folder, *(Path(below) for below, _, _ in os.walk(folder / IMAGES))])
    return journal


def recorded_entries(folder: Path) -> dict[int, np.ndarray]:
    """Id -> (K, D) float32 that the index of a finished run holds for it.

    Raises:
        FileNotFoundError: the folder has no journal.
    """
    items = newest_items(folder / JOURNALS / "release.jsonl")
    rows = [item for item in items.values() if "entries" in item]
    found = {int(item["row"]["id"]): unpacked(item["entries"]) for item in rows}
    return {image: entries for image, entries in found.items() if entries is not None}


def _check_images(folder: Path, journal: Path) -> None:
    """Files that this program has no record of are somebody's, and would be overwritten."""
    images = folder / IMAGES
    if journal.exists() or not images.is_dir() or not any(images.iterdir()):
        return
    raise ValueError(
        f"{images} holds files that no run of this program has written (there is no {journal}): "
        "move them away, or choose another --output_dir."
    )


def _told(error: OtherRunError) -> str:
    told = {}
    for name, (old, new) in error.differences.items():
        parts = name.split(".")
        if "descriptor" in parts or "dim" in parts[:2]:
            told["descriptor"] = "it was made with another descriptor"
        elif "references" in parts:
            if {"active", "activation.method"} & error.differences.keys():
                continue  # they count for some methods only
            told["references"] = "its index held other references (--fts_reference_path)"
        elif "training" in parts:
            told["training"] = "its index was trained from another --fts_training_path"
        elif name != "activation":  # it goes with --active
            flag = _FLAGS.get(parts[-1], parts[-1])
            told[name] = f"--{flag} was {old} and is now {new}"
    return "; ".join(told.values())
