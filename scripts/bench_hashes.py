"""What a user would pick instead of a descriptor: PDQ and a 256-bit pHash, by Hamming distance.

    pip install pdqhash ImageHash
    python scripts/bench_hashes.py --data_dir PHOTOS --reference_dir REFERENCES --output hashes.csv

The photos are attacked with the same draws as a run of main.py on the same folder, and searched exactly among
the photos and the references. A reference at the same distance as the original counts as found before it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from active_indexing.artefacts.atomic import write_text
from active_indexing.attacks.failure import AttackFailed
from active_indexing.attacks.registry import default_attacks
from active_indexing.cli.interrupts import run_program
from active_indexing.images import decoding
from active_indexing.images.inventory import inventory
from active_indexing.images.listing import open_source
from active_indexing.parallel.progress import progress_bar
from active_indexing.seeding import generator_for

Hash = Callable[[Image.Image], np.ndarray]
"""An RGB image to (32,) uint8, 256 bits."""

SEED = 0
"""The default ``--seed`` of main.py."""


def hashes() -> dict[str, Hash]:
    """The two hashes, from their packages.

    Raises:
        ValueError: a package is missing.
    """
    try:
        import imagehash
        import pdqhash
    except ImportError as error:
        raise ValueError(f"{error}; pip install pdqhash ImageHash") from error

    def pdq(image: Image.Image) -> np.ndarray:
        bits, _ = pdqhash.compute(np.asarray(image))
        return np.packbits(np.asarray(bits, dtype=np.uint8))

    def phash(image: Image.Image) -> np.ndarray:
        return np.packbits(imagehash.phash(image, hash_size=16).hash.ravel())

    return {"PDQ": pdq, "pHash 256": phash}


def found_first(query: np.ndarray, own: int, database: np.ndarray) -> bool:
    """Whether entry ``own`` is strictly nearer to the query than any other.

    Args:
        query: (32,) uint8.
        own: row of the right answer.
        database: (N, 32) uint8.
    """
    distances = np.bitwise_count(database ^ query).sum(axis=1)
    right = distances[own]
    return int((distances <= right).sum()) == 1


def measure(photos: Path, references: Path, maker: dict[str, Hash]) -> pd.DataFrame:
    """R@1 per attack, one column per hash, and the number of queries."""
    sources = inventory(photos)
    views = [Image.fromarray(decoding.read(source.path).srgb) for source in sources]
    database = {name: [make(view) for view in views] for name, make in maker.items()}
    for item in progress_bar(open_source(references).items(0), desc="references"):
        view = Image.fromarray(item.read().srgb)
        for name, make in maker.items():
            database[name].append(make(view))
    tables = {name: np.stack(rows) for name, rows in database.items()}
    hits: dict[tuple[str, str], list[list[bool]]] = {}
    for own, (source, view) in enumerate(
        progress_bar(list(zip(sources, views, strict=True)), desc="queries")
    ):
        for attack in default_attacks():
            try:
                attacked = attack(view, generator_for(SEED, source.id, attack.purpose))
            except AttackFailed:
                continue
            row = [found_first(make(attacked), own, tables[name]) for name, make in maker.items()]
            hits.setdefault((attack.name, attack.param_text), []).append(row)
    means = {key: [len(rows), *np.mean(rows, axis=0)] for key, rows in hits.items()}
    table = pd.DataFrame.from_dict(means, orient="index", columns=["n", *maker])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["attack", "attack_param"])
    return table


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", type=Path, required=True, help="photos to find")
    parser.add_argument("--reference_dir", type=Path, required=True, help="folder or tar of other images")
    parser.add_argument("--output", type=Path, default=Path("hashes.csv"), help="default: %(default)s")
    arguments = parser.parse_args(argv)
    try:
        table = measure(arguments.data_dir, arguments.reference_dir, hashes())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_text(arguments.output, table.to_csv())
    print(table.to_string(float_format=lambda value: f"{value:.3f}"))
    print(table.iloc[:, 1:].mean().to_string())
    print(f"the table is in {arguments.output}")
    return 0


if __name__ == "__main__":
    run_program(main)
