"""How a store's costs grow with it: opening, adding, asking, removing, verifying.

    python scripts/bench_store.py --sizes 10000 100000 1000000

Made-up unit vectors in the default index, without files; each size is filled, saved and opened anew. With
``--photos`` whole queries too: photos of 500x375 pixels and screenshots of them, decoded, cut into views,
described, searched, scored and judged.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from active_indexing.artefacts.atomic import write_json
from active_indexing.artefacts.identity import sha256_bytes
from active_indexing.attacks.registry import default_attacks
from active_indexing.cli.interrupts import run_program
from active_indexing.config import configure
from active_indexing.images.any_image import srgb_of
from active_indexing.images.listing import find_images
from active_indexing.parallel.progress import progress_bar
from active_indexing.parallel.resources import device_for
from active_indexing.query.lookup import Lookup
from active_indexing.query.reranking import ranked
from active_indexing.query.views import WHOLE
from active_indexing.seeding import generator_for
from active_indexing.store.archive import Store
from active_indexing.store.rows import NewImage
from active_indexing.store.search import CandidateSearch
from active_indexing.store.verify import Verification, places_in_order, vector_damage
from active_indexing.store_run import fitting_of, open_or_create
from scripts.bench_query import made_up

AT_ONCE = 5000
QUERIES = 200
VIEWS = 8
NPROBE, CANDIDATES = 32, 50  # the defaults of query


def parser() -> argparse.ArgumentParser:
    """The flags."""
    built = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    built.add_argument(
        "--sizes", type=int, nargs="+", default=[10_000, 100_000], help="default: 10000 100000"
    )
    built.add_argument("--output", type=Path, default=Path("bench_store.json"), help="default: %(default)s")
    built.add_argument("--photos", type=Path, help="at most 20 of them are asked about")
    built.add_argument("--folder", type=Path, help="where the stores are made (default: a temporary folder)")
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    arguments = parser().parse_args(argv)
    torch.set_num_threads(1)
    queries = {} if arguments.photos is None else whole_queries(arguments.photos)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        store = Path(folder) / "store"
        config = configure(data_dir=folder, output_dir=store, verbose=0)
        open_or_create(config, store, fitting_of(config, device_for("cpu")))
        for size in sorted(arguments.sizes):
            fill(store, size)
            rows.append(measured(store, size) | asked_about(store, queries))
            write_json(arguments.output, rows)
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print(
            "| "
            + " | ".join(
                f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" for value in row.values()
            )
            + " |"
        )
    return 0


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    """(count, dim) float32 random directions."""
    rows = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fill(folder: Path, size: int) -> None:
    """Add images until the store holds ``size``, and write its index file.

    Their hashes ascend and cover all that there are: ten million in a random order write 300 GB of the
    database's pages again and again, and end at the same tables.
    """
    with Store.writing(folder) as store:
        run = store.database.begin_run({"bench": size})
        first = store.database.count_released()
        apart = (1 << 256) // max(1, size - first)
        begin = int(sha256_bytes(str(size).encode()), 16) % apart
        for start in progress_bar(range(first, size, AT_ONCE), desc=f"fill to {size:,}", mininterval=10):
            vectors = unit(min(AT_ONCE, size - start), store.codec.dim, start)
            hashes = [f"{(start - first + n) * apart + begin:064x}" for n in range(len(vectors))]
            images = [made_up(start + n, vectors[n], sha256) for n, sha256 in enumerate(hashes)]
            store.append(run, images)
        store.save_cache()


def whole_queries(folder: Path) -> dict[str, list[bytes]]:
    """Files of 500x375 pixels as they come: photos, and screenshots of them."""
    screenshot = next(each for each in default_attacks() if each.name == "overlay_onto_screenshot")
    queries: dict[str, list[bytes]] = {"photo": [], "screenshot": []}
    for number, path in enumerate(find_images(folder)[:20]):
        photo = Image.fromarray(srgb_of(path)[0]).resize((500, 375))
        shown = screenshot(photo, generator_for(0, number, screenshot.purpose)).convert("RGB")
        for kind, picture in (("photo", photo), ("screenshot", shown.resize((500, 375)))):
            content = io.BytesIO()
            picture.save(content, "JPEG", quality=85)
            queries[kind].append(content.getvalue())
    return queries


def asked_about(store: Path, queries: dict[str, list[bytes]]) -> dict[str, float]:
    """Milliseconds of whole queries on one core, and of opening for them."""
    if not queries:
        return {}
    lookup, opened = timed(lambda: Lookup(store))
    told = {"open for queries ms": opened}
    with lookup:
        lookup.ask(queries["photo"][0])
        for kind, contents in queries.items():
            taken = [timed(partial(lookup.ask, content), time.process_time)[1] for content in contents]
            told[f"{kind} CPU ms (median)"] = float(np.median(taken))
            told[f"{kind} CPU ms (worst)"] = max(taken)
    return told


def memory_of_a_reader(folder: Path) -> float:
    """Megabytes of its own, not of mapped files, that a process needs more once it searches a store."""
    with Store(folder) as store:
        dim = store.codec.dim
        before = _own_megabytes()
        search = CandidateSearch(store)
        search.candidates(unit(VIEWS, dim, 0), CANDIDATES, NPROBE)
        return _own_megabytes() - before


def _own_megabytes() -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


def measured(folder: Path, size: int) -> dict[str, Any]:
    """One row of the table; 1,000 images are added, and removed again."""
    row: dict[str, Any] = {"images": size}
    row["database MB"] = (folder / "store.sqlite").stat().st_size / 1e6
    row["index file MB"] = max(path.stat().st_size for path in (folder / "cache").glob("*.index")) / 1e6
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        row["memory of a reader MB"] = pool.apply(memory_of_a_reader, (folder,))
    store, row["open ms"] = timed(lambda: Store(folder))
    search, opened = timed(lambda: CandidateSearch(store))
    row["open ms"] += opened
    vectors = unit(QUERIES * VIEWS, store.codec.dim, 1 << 20).reshape(QUERIES, VIEWS, -1)
    ask(store, search, vectors[0])
    for name, clock in (("query of 8 views, CPU", time.process_time), ("again, wall", time.perf_counter)):
        asked = [timed(partial(ask, store, search, v), clock)[1] for v in vectors]
        row[f"{name} ms (median)"] = float(np.median(asked))
    images = [
        made_up(10**9 + 1000 * size + n, vector)
        for n, vector in enumerate(unit(1000, store.codec.dim, 2 << 20))
    ]
    with Store.writing(folder) as writer:
        run = writer.database.begin_run({})
        row["add 1,000, a commit each, s"] = timed(partial(append_each, writer, run, images))[1] / 1e3
        row["first query after it ms"] = timed(lambda: ask(store, search, vectors[0]))[1]
        row["remove 1,000 s"] = timed(lambda: [writer.remove(image.id) for image in images])[1] / 1e3
        row["rebuild s"] = timed(writer.save_cache)[1] / 1e3
        rows = [stored for stored, _ in zip(writer.database.rows(), range(1000), strict=False)]
        damage, taken = timed(lambda: [list(vector_damage(writer, stored)) for stored in rows])
        assert not any(damage)
        row["verify codes and vectors of 1,000 s"] = taken / 1e3
        row["choose what to verify s"] = timed(lambda: places_in_order(writer, 0.0, Verification()))[1] / 1e3
        found, taken = timed(writer.database.integrity)
        assert found == []
        row["check the database file s"] = taken / 1e3
    store.close()
    return row


def append_each(store: Store, run: int, images: Sequence[NewImage]) -> None:
    """Record images, each in a transaction of its own, as a release does."""
    for image in images:
        store.append(run, [image])


def ask(store: Store, search: CandidateSearch, views: np.ndarray) -> None:
    """What a query does with the descriptors of its views."""
    ids = search.candidates(views, CANDIDATES, NPROBE)
    near = ranked(views, [WHOLE] * len(views), store.database.descriptors(ids), 0.1)
    store.database.images([found.id for found in near[:7]])
    store.database.count_released()


def timed(function: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[Any, float]:
    """What a function gives, and its milliseconds by a clock."""
    begun = clock()
    result = function()
    return result, 1000 * (clock() - begun)


if __name__ == "__main__":
    run_program(main)
