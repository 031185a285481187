"""Output folders written by hand, with answers that can be counted on fingers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.evaluation.tables import (
    COPY_DETECTION_COLUMNS,
    FAILURE_COLUMNS,
    RETRIEVAL_COLUMNS,
    copy_detection_row,
    retrieval_row,
)
from active_indexing.records import ManifestRow, QueryRow
from active_indexing.release.manifest import manifest_row
from active_indexing.reporting.runs import Run, open_runs

FAR = 10**6  # id of a reference


def query(image: int, attack: str, param: str, rank: int | None) -> QueryRow:
    """An answer with three entries, the right one at ``rank``."""
    ids = np.array([FAR, FAR + 1, FAR + 2])
    if rank is not None:
        ids[rank] = image
    return QueryRow(image, attack, param, ids, np.array([0.25, 0.5, 1.0], dtype=np.float32))


def answer(image: int, ids: list[int], distances: list[float]) -> QueryRow:
    """An answer of copy detection."""
    return QueryRow(image, "crop", "[]", np.array(ids), np.array(distances, dtype=np.float32))


def write_output(
    folder: Path,
    *,
    active: bool,
    retrieval: Iterable[QueryRow] = (),
    copies: Iterable[QueryRow] = (),
    manifest: Iterable[ManifestRow] = (),
    failures: Iterable[tuple[str, ...]] = (),
    grid: bool = False,
    quant: str = "L2",
) -> Run:
    """An output folder as ``main.py`` leaves it; what is not given is not there."""
    manifest, retrieval, copies = list(manifest), list(retrieval), list(copies)
    write_csv(folder / "manifest.csv", ManifestRow.columns(), [manifest_row(row) for row in manifest])
    write_csv(folder / "failures.csv", FAILURE_COLUMNS, failures)
    released = sum(row.status == "released" for row in manifest)
    content: dict[str, Any] = {
        "config": {
            "active": active,
            "data_dir": "photos",
            "index": {"quant": quant, "nprobe": 1},
            "evaluation": {"use_attacks_2": grid},
        },
        "descriptor": {"name": "toy@32", "dim": 64, "fingerprint": "0" * 64},
        "index": {"factory": "IVF16,PQ8x8", "entries": 520},
        "quality": {"released": released, "skipped": len(manifest) - released},
        "seconds": {"release": 1.5},
        "versions": {"python": "3.11"},
        "failed_attacks": {},
    }
    if retrieval:
        rows = [retrieval_row(0, row) for row in retrieval]
        write_csv(folder / "retr_df.csv", RETRIEVAL_COLUMNS, rows)
        content["retrieval"] = [{"attack": "counted elsewhere"}]
    if copies:
        rows = [copy_detection_row(0, row) for row in copies]
        write_csv(folder / "icd_df.csv", COPY_DETECTION_COLUMNS, rows)
        content["copy_detection"] = {"uAP": 0.5}
    (folder / "run.json").write_text(json.dumps(content))
    return open_runs([folder])[0]


def write_pictures(root: Path, folder: Path, count: int, shift: int) -> list[ManifestRow]:
    """``count`` photos in ``root/photos`` and their released files, ``shift`` grey levels brighter."""
    rows = []
    (root / "photos").mkdir(exist_ok=True)
    (folder / "imgs").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        coarse = np.random.default_rng(number).integers(60, 180, (6, 6, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((90, 60), Image.Resampling.BICUBIC))
        Image.fromarray(picture).save(root / "photos" / f"{number}.png")
        Image.fromarray(picture + np.uint8(shift)).save(folder / "imgs" / f"{number}.png")
        psnr = 20 * np.log10(255 / shift) + number if shift else float("inf")
        rows.append(
            ManifestRow(
                number, f"photos/{number}.png", f"imgs/{number}.png", "released", width=90, height=60,
                psnr=psnr, ssim=0.99, linf=shift, cell_before=1, cell_after=1,
            )
        )  # fmt: skip
    return rows
