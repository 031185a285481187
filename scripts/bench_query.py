"""How well a store answers: recall of attacked copies by one view and by all, false alarms, time.

    python scripts/bench_query.py --data_dir PHOTOS --references fts.npy --non_matching OTHER --calibration
    THIRD

A store is made in a temporary folder, filled with the references' descriptors as if they were released
images, and with the photos, released. Then every photo is attacked by the 15 attacks and asked about: exact
search of the whole image among all descriptors, the whole image in the store, and all views in the store. The
threshold is calibrated on THIRD; queries from OTHER, which match nothing, count false alarms.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import stats

from active_indexing.artefacts.atomic import write_json
from active_indexing.artefacts.identity import sha256_bytes
from active_indexing.attacks.registry import Attack, default_attacks
from active_indexing.cli.interrupts import run_program
from active_indexing.config import RunConfig, configure
from active_indexing.images.any_image import srgb_of
from active_indexing.images.inventory import id_of_sha256
from active_indexing.images.listing import find_images
from active_indexing.parallel.progress import progress_bar
from active_indexing.parallel.resources import device_for
from active_indexing.query.answers import MATCH, UNSURE_MATCH, Answer
from active_indexing.query.calibrating import calibrate
from active_indexing.query.lookup import Lookup, QueryConfig
from active_indexing.query.views import View
from active_indexing.seeding import generator_for
from active_indexing.store import search
from active_indexing.store.archive import Store
from active_indexing.store.rows import NewImage
from active_indexing.store_run import fitting_of, open_or_create, release

AT_ONCE = 5000  # references recorded in one transaction
NON_MATCHING_ATTACKS = 8  # of the 15, for every image that matches nothing


def parser() -> argparse.ArgumentParser:
    """The flags."""
    built = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    built.add_argument("--data_dir", type=Path, required=True, help="photos that are released")
    built.add_argument(
        "--references", type=Path, required=True, help="(N, D) .npy of other images' descriptors"
    )
    built.add_argument("--non_matching", type=Path, help="photos that are not released")
    built.add_argument("--calibration", type=Path, help="further photos that are not released")
    built.add_argument("--active", choices=("True", "False"), default="True", help="default: %(default)s")
    built.add_argument("--nprobe", type=int, nargs="+", default=[1, 8, 32], help="default: 1 8 32")
    built.add_argument("--false_positive_rate", type=float, default=0.01, help="default: %(default)s")
    built.add_argument("--output", type=Path, default=Path("bench_query.json"), help="default: %(default)s")
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    arguments = parser().parse_args(argv)
    search.LEAST_CODES = 1  # visit nprobe cells and not more, as in a store of millions
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        config = configure(data_dir=arguments.data_dir, output_dir=store, active=arguments.active == "True")
        figures = measure(arguments, config, store)
    write_json(arguments.output, figures)
    print(table(figures))
    return 0


def measure(arguments: argparse.Namespace, config: RunConfig, store: Path) -> dict[str, Any]:
    """All figures."""
    add_references(store, config, np.load(arguments.references, mmap_mode="r"))
    release(config, store)
    photos = released_photos(store)
    rows, seconds = described_copies(store, photos)
    with Lookup(store) as lookup:
        stored, ids = all_descriptors(lookup.store)
        figures: dict[str, Any] = {"photos": len(photos), "images": len(ids), "recall": {}}
        figures["recall"]["exact, one view"] = recall(
            (row.attack, row.image, int(ids[np.argmax(stored @ row.described[0])])) for row in rows
        )
        for nprobe in arguments.nprobe:
            for views in (1, None):
                name = f"nprobe {nprobe}, {'one view' if views else 'all views'}"
                told, taken = answered(lookup, rows, views, nprobe)
                figures["recall"][name] = told
                figures[f"CPU milliseconds of the search, {name}"] = taken
    figures["CPU milliseconds of views and descriptors"] = percentiles(seconds)
    if arguments.non_matching and arguments.calibration:
        figures["false positives"] = false_alarms(arguments, store, rows)
    return figures


def add_references(store: Path, config: RunConfig, references: np.ndarray) -> None:
    """Record descriptors as if they were released images; they have no files."""
    fitting = fitting_of(config, device_for(config.device))
    open_or_create(config, store, fitting)
    with Store.writing(store) as opened:
        run = opened.database.begin_run({"bench": "references"})
        for start in progress_bar(range(0, len(references), AT_ONCE), desc="references"):
            chunk = np.asarray(references[start : start + AT_ONCE], np.float32)
            opened.append(run, [made_up(start + n, vector) for n, vector in enumerate(chunk)])
        opened.save_cache()


def made_up(number: int, vector: np.ndarray, sha256: str = "") -> NewImage:
    """A row without a file; its hash is that of the number, or the one that is given."""
    sha256 = sha256 or sha256_bytes(str(number).encode())
    return NewImage(
        id=id_of_sha256(sha256), source=f"reference {number}", source_sha256=sha256,
        released=f"references/{sha256}", released_sha256=sha256, size=0, width=0, height=0, psnr=0, ssim=0,
        linf=0, descriptor=vector, entries=vector[None],
    )  # fmt: skip


def released_photos(store: Path) -> list[tuple[int, Image.Image]]:
    """(id, released picture) of every image with a file."""
    with Store(store) as opened:
        rows = [row for row in opened.database.rows() if row.size]
    return [(row.id, Image.fromarray(srgb_of(row.path(store))[0])) for row in rows]


def all_descriptors(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 and ids of all released images."""
    chunks = list(store.database.vectors())
    dim = store.codec.dim
    vectors = [np.frombuffer(each, "<f2", count=dim) for _, _, some in chunks for each in some]
    return np.stack(vectors).astype(np.float32), np.concatenate([ids for ids, _, _ in chunks])


def attacked(
    photos: Sequence[tuple[int, Image.Image]], attacks: Sequence[Attack]
) -> Iterator[tuple[str, int, np.ndarray]]:
    """(attack, id, pixels) of every copy."""
    for image_id, photo in progress_bar(photos, desc="attacks"):
        for attack in attacks:
            copy = attack(photo, generator_for(0, image_id, attack.purpose))
            name = f"{attack.name} {attack.param_text}".strip()
            yield name, image_id, np.asarray(copy.convert("RGB"))


@dataclass(frozen=True, eq=False)
class Copy:
    """An attacked copy, described view by view."""

    attack: str
    image: int
    views: list[View]
    described: np.ndarray


def described_copies(
    store: Path, photos: Sequence[tuple[int, Image.Image]], attacks: int | None = None
) -> tuple[list[Copy], list[float]]:
    """Copies by the first attacks, and the CPU seconds that views and descriptors of each took."""
    rows, seconds = [], []
    with Lookup(store) as lookup:
        for attack, image, pixels in attacked(photos, default_attacks()[:attacks]):
            begun = time.thread_time()
            views = lookup.views_of(pixels)
            rows.append(Copy(attack, image, views, lookup.described(views)))
            seconds.append(time.thread_time() - begun)
    return rows, seconds


def recall(answers: Iterable[tuple[str, int, int]]) -> dict[str, float]:
    """Attack -> share of the copies of which the right image came first, from (attack, id, answer)."""
    hits: dict[str, list[bool]] = {}
    for attack, image, answer in answers:
        hits.setdefault(attack, []).append(image == answer)
    return {attack: float(np.mean(of)) for attack, of in hits.items()}


def answered(
    lookup: Lookup, rows: Sequence[Copy], views: int | None, nprobe: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Recall by the first views, and percentiles of the CPU milliseconds of the search."""
    told, seconds = [], []
    for row in rows:
        begun = time.thread_time()
        near = lookup.candidates(row.described[:views], [view.kind for view in row.views[:views]], nprobe)
        seconds.append(time.thread_time() - begun)
        told.append((row.attack, row.image, near[0].id if near else -1))
    return recall(told), percentiles(seconds)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    return {"median": 1000 * float(np.median(seconds)), "p95": 1000 * float(np.quantile(seconds, 0.95))}


def false_alarms(arguments: argparse.Namespace, store: Path, rows: Sequence[Copy]) -> dict[str, Any]:
    """Verdicts on foreign queries and on copies, by estimated and by calibrated thresholds."""
    paths = find_images(arguments.non_matching)
    photos = [(n, Image.fromarray(srgb_of(path)[0])) for n, path in enumerate(paths)]
    foreign, _ = described_copies(store, photos, NON_MATCHING_ATTACKS)
    config = QueryConfig(false_positive_rate=arguments.false_positive_rate)
    told: dict[str, Any] = {"estimated": _verdicts(store, config, foreign, rows)}
    told["calibration"] = str(calibrate(store, config, arguments.calibration, 2000))
    return told | {"calibrated": _verdicts(store, config, foreign, rows)}


def _verdicts(
    store: Path, config: QueryConfig, foreign: Sequence[Copy], own: Sequence[Copy]
) -> dict[str, Any]:
    """Shares of verdicts; the rate of false alarms with its 95 % interval (Clopper and Pearson 1934)."""
    with Lookup(store, config) as lookup:
        alarms, answers = ([_answer(lookup, row) for row in rows] for rows in (foreign, own))
    images = {row.image for row, answer in zip(foreign, alarms, strict=True) if answer.verdict == MATCH}
    matches = sum(answer.verdict == MATCH for answer in alarms)
    interval = stats.binomtest(matches, len(alarms)).proportion_ci(0.95, method="exact")
    called = [answer for answer in answers if answer.verdict == MATCH]
    right = [a.best is not None and a.best.id == row.image for a, row in zip(answers, own, strict=True)]
    wrong = sum(a.verdict == MATCH and not good for a, good in zip(answers, right, strict=True))
    return {
        "foreign queries": len(alarms), "called a match": matches, "rate": matches / len(alarms),
        "low": interval.low, "high": interval.high,
        "foreign images": len({row.image for row in foreign}),
        "of them called a match": len(images),
        "called unsure": sum(answer.verdict == UNSURE_MATCH for answer in alarms),
        "copies": len(answers), "copies called a match": len(called), "wrong ones": wrong,
        "copies called unsure": sum(answer.verdict == UNSURE_MATCH for answer in answers),
    }  # fmt: skip


def _answer(lookup: Lookup, row: Copy) -> Answer:
    return lookup.judged("", row.views, lookup.candidates(row.described, [view.kind for view in row.views]))


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    ways = list(figures["recall"])
    attacks = list(figures["recall"][ways[0]])
    lines = [f"| attack | {' | '.join(ways)} |", f"|---|{'---|' * len(ways)}"]
    for attack in attacks:
        lines.append(
            f"| {attack} | " + " | ".join(f"{figures['recall'][way][attack]:.3f}" for way in ways) + " |"
        )
    means = (np.mean(list(figures["recall"][way].values())) for way in ways)
    lines.append("| mean | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    rest = {key: value for key, value in figures.items() if key != "recall"}
    return "\n".join([*lines, json.dumps(rest, indent=1)])


if __name__ == "__main__":
    run_program(main)
