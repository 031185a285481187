"""Thresholds that keep false alarms at a chosen rate, found from queries that match nothing.

An answer is accepted when its distance is on the right side of a threshold, or its score normalised by the
next neighbour is above one. Only protected images are answers: references are a bank of negatives, they are
never accepted, but an answer's next neighbour may be one. So a false positive is a query without a match of
which any protected image is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from active_indexing.artefacts.atomic import write_json
from active_indexing.artefacts.csv_tables import id_column, parse_answers
from active_indexing.artefacts.identity import sha256_file
from active_indexing.index.files import EMBEDDED_DIR
from active_indexing.metrics.bootstrap import LEVEL
from active_indexing.metrics.thresholds import QueryScores, Threshold, next_neighbour_scores, threshold
from active_indexing.records import NO_MATCH, PROTECTED_BASE

FORMAT = "active_indexing.calibration/2"
_FIRST_FORMAT = "active_indexing.calibration/1"  # until 0.2
FILE_NAME = "calibration.json"
ROWS = 1024
"""Rows of the CSV in memory at a time."""


@dataclass(frozen=True)
class Calibration:
    """Both thresholds, and what they hold for.

    Attributes:
        false_positive_rate: the chosen rate.
        level: probability of every interval.
        quant: ``L2`` (distances are accepted below the threshold) or ``IP`` (inner products above it).
        nprobe: cells visited per query.
        answers: answers per query at most; more of them could give more false positives.
        queries: queries without a match.
        answered: how many of them have a protected image among their answers at all.
        matching: queries with one.
        distance: threshold of the value that the index gives.
        normalized: threshold of the score less the next neighbour's; the score is minus the distance, or the
            inner product.
        index: what the index was made from and filled with.
        entries: entries of the index.
        source: SHA-256 of the CSV.
    """

    false_positive_rate: float
    level: float
    quant: str
    nprobe: int
    answers: int
    queries: int
    answered: int
    matching: int
    distance: Threshold
    normalized: Threshold
    index: dict[str, Any]
    entries: int
    source: str

    def accepts_distance(self, distances: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Which answers of a query are accepted by what the index gave; references never are.

        Args:
            distances: (n,) as the index gave them.
            ids: (n,) int64.

        Returns:
            (n,) bool.
        """
        protected = ids >= PROTECTED_BASE
        if self.distance.value is None:
            return protected
        distances = distances.astype(np.float64)
        near = distances > self.distance.value if self.quant == "IP" else distances < self.distance.value
        return near & protected

    def accepts_normalized(self, distances: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Which answers of a query are accepted by their normalised score; the last one never is.

        Args:
            distances: (n,) as the index gave them, best first.
            ids: (n,) int64; references are never accepted.

        Returns:
            (n,) bool.
        """
        distances = distances.astype(np.float64)
        scores = next_neighbour_scores(distances if self.quant == "IP" else -distances)
        least = -np.inf if self.normalized.value is None else self.normalized.value
        accepted = np.zeros(len(distances), dtype=bool)
        accepted[: len(scores)] = scores > least
        return accepted & (ids >= PROTECTED_BASE)

    def check(self, index: dict[str, Any], nprobe: int) -> None:
        """Refuse to be used with an index that was not calibrated.

        Raises:
            ValueError: the index was made from something else, or visits another number of cells.
        """
        differing = [key for key in sorted({*index, *self.index}) if index.get(key) != self.index.get(key)]
        differing += ["nprobe"] if nprobe != self.nprobe else []
        if differing:
            raise ValueError(
                f"the thresholds are for another {' and '.join(differing)} than this index has; run "
                "scripts/calibrate.py on a run with this index."
            )


def calibrate(folder: Path, false_positive_rate: float, level: float = LEVEL) -> Calibration:
    """Find the thresholds from a run's copy detection.

    Args:
        folder: output folder of a run with non-matching queries.
        false_positive_rate: share of the non-matching queries that may be accepted, in (0, 1).
        level: probability of the intervals, in (0, 1).

    Raises:
        FileNotFoundError: the folder holds no finished run, or one without copy detection.
        ValueError: no non-matching queries, or a rate or level out of range.
    """
    if not (0 < false_positive_rate < 1 and 0 < level < 1):
        raise ValueError(
            f"the false-positive rate and the level lie between 0 and 1, got {false_positive_rate}, {level}."
        )
    run = _read_run(folder)
    path = folder / "icd_df.csv"
    quant = run["index"]["quant"]
    distance, normalized, answers = _read_scores(path, quant)
    if not len(distance.non_matching):
        raise ValueError(
            f"{path} has no queries without a match; run main.py again with --query_nonmatch_dir, a folder "
            "of images that are not protected."
        )
    by_distance = threshold(distance, false_positive_rate, level)
    return Calibration(
        false_positive_rate=false_positive_rate,
        level=level,
        quant=quant,
        nprobe=run["config"]["index"]["nprobe"],
        answers=answers,
        queries=len(distance.non_matching),
        answered=int(np.isfinite(distance.non_matching).sum()),
        matching=len(distance.right),
        distance=by_distance if quant == "IP" else _mirrored(by_distance),
        normalized=threshold(normalized, false_positive_rate, level),
        index=_made_from(run["index"]),
        entries=run["index"]["entries"],
        source=sha256_file(path),
    )


def calibration_path(folder: Path) -> Path:
    """Where the thresholds of a run belong: beside its index file, if that lies in the run's ``idx_dir``.

    All others keep them in their own folder: a run with the embedded index, of whichever installation, with
    an index that is not kept in a file, or one that was copied away from its index.

    Raises:
        FileNotFoundError: the folder holds no finished run.
    """
    run = _read_run(folder)
    path, idx_dir = run["index"].get("path"), run["config"]["index"].get("idx_dir")
    if path is None or idx_dir is None or not Path(path).is_file():
        return folder / FILE_NAME
    if Path(path).resolve().parent != Path(idx_dir).resolve() or _is_embedded(Path(path)):
        return folder / FILE_NAME
    return Path(path).with_suffix(f".{FILE_NAME}")


def _is_embedded(path: Path) -> bool:
    return path.resolve().parts[-3:-1] == EMBEDDED_DIR.parts[-2:]


def save_calibration(calibration: Calibration, path: Path) -> None:
    """Write the thresholds as JSON, atomically."""
    write_json(path, {"format": FORMAT, **asdict(calibration)})


def load_calibration(path: Path) -> Calibration:
    """Read what :func:`save_calibration` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no thresholds {path}; make them with scripts/calibrate.py.")
    try:
        content = json.loads(path.read_text())
        if (found := content.pop("format")) != FORMAT:
            raise ValueError("references counted as answers" if found == _FIRST_FORMAT else "another format")
        distance, normalized = (Threshold(**content.pop(name)) for name in ("distance", "normalized"))
        return Calibration(**content, distance=distance, normalized=normalized)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a file of thresholds ({error}); run scripts/calibrate.py."
        ) from error


def _read_run(folder: Path) -> dict[str, Any]:
    for name in ("run.json", "icd_df.csv"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}; give the output folder of a finished run of main.py with copy "
                "detection."
            )
    return json.loads((folder / "run.json").read_text())


def _made_from(index: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in index.items() if key not in ("path", "entries")}


def _read_scores(path: Path, quant: str) -> tuple[QueryScores, QueryScores, int]:
    """Raw and normalised scores of all queries, and the largest number of answers."""
    best: tuple[list[float], list[float]] = [], []
    right: tuple[list[float], list[float]] = [], []
    answers = 0
    for image_index, values, ids in _rows(path):
        scores = values if quant == "IP" else -values
        answers = max(answers, len(ids))
        counts = ids >= PROTECTED_BASE if image_index == NO_MATCH else ids == image_index
        for rule, of_rule in enumerate((scores, next_neighbour_scores(scores))):
            into = best if image_index == NO_MATCH else right
            into[rule].append(of_rule[counts[: len(of_rule)]].max(initial=-np.inf))
    raw, normalized = (QueryScores(np.array(b), np.array(r)) for b, r in zip(best, right, strict=True))
    return raw, normalized, answers


def _rows(path: Path) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    columns = ["image_index", "retrieved_distances", id_column(pd.read_csv(path, nrows=0).columns, path)]
    for chunk in pd.read_csv(path, usecols=columns, dtype={"image_index": "int64"}, chunksize=ROWS):
        cells = (chunk[column] for column in columns)
        for image_index, distances, ids in zip(*cells, strict=True):
            # The text is the shortest of a float32; the thresholds are compared with the float32 itself.
            given, found = parse_answers(distances, ids)
            yield int(image_index), given.astype(np.float32).astype(np.float64), found


def _mirrored(scores: Threshold) -> Threshold:
    """The threshold of distances, of one of scores that are minus the distances."""
    value, low, high = (None if end is None else 0.0 - end for end in (scores.value, scores.low, scores.high))
    return Threshold(**{**asdict(scores), "value": value, "low": high, "high": low})
