"""Split DISC21 into the folders of the published experiments, as links.

    python data/prepare_disc.py --data_dir DISC [--output_dir OUT]

DISC holds ``references/R000000.jpg`` ..., ``train/T000000.jpg`` ... and the ground truth. Three folders of
absolute links are made in OUT (DISC itself if not given):

- ``references_10k``: the references that are the answer to some query; they are the images to protect.
  ``groundtruth_matches.csv`` names 10,000. Without it, the files ``*_queries_groundtruth.csv`` are read
  together (the development queries alone name 4,991). Nothing is added to make up the number: a reference
  without a query belongs to the other folder.
- ``references_990k``: all other references; they fill the index.
- ``queries_40k``: 40,000 training images, drawn by ``random.sample`` with seed 0 from all of them in
  order; they are queries without a match.

Images are numbered from 0 to the highest number found, so a few missing files change nothing about the
choice of the others. What is missing is counted, and listed in ``prepare_disc.json``. The program may be
run again at any time: right links stay, wrong ones are replaced, and those that no longer belong are
removed.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from active_indexing.artefacts.atomic import write_json
from active_indexing.cli.interrupts import run_program

MATCHES = "groundtruth_matches.csv"
PART_MATCHES = "*_queries_groundtruth.csv"
NONMATCHING_QUERIES = 40_000  # published active_indexing split
SAMPLE_SEED = 0  # published active_indexing split
_LINK_NAME = re.compile(r"[RT]\d{6}\.jpg")


@dataclass(frozen=True, kw_only=True)
class Links:
    """What became of one folder of links: how many it holds, and how they got there."""

    links: int
    kept: int
    made: int
    replaced: int
    removed: int


def matched_references(data_dir: Path) -> set[str]:
    """References that answer a query, e.g. ``R000123``.

    Args:
        data_dir: folder of the ground truth. Its files may have a header, rows without a reference
            (queries without a match) and repeated rows.

    Raises:
        FileNotFoundError: if there is no ground truth.
        ValueError: if a row is not a query and a reference.
    """
    whole = data_dir / MATCHES
    files = [whole] if whole.is_file() else sorted(data_dir.glob(PART_MATCHES))
    if not files:
        raise FileNotFoundError(f"no {MATCHES} and no {PART_MATCHES} in {data_dir}; copy one there.")
    return {reference for file in files for reference in _references(file)}


def numbered_images(folder: Path, letter: str) -> tuple[set[str], int]:
    """Names ``<letter>dddddd.jpg`` in a folder, and how many there would be if none was missing.

    Raises:
        FileNotFoundError: if there are none.
    """
    pattern = re.compile(rf"{letter}\d{{6}}\.jpg")
    names = os.listdir(folder) if folder.is_dir() else []
    present = {name for name in names if pattern.fullmatch(name)}
    if not present:
        raise FileNotFoundError(f"no images {letter}000000.jpg ... in {folder}; unpack DISC21 there.")
    return present, int(max(present)[1:7]) + 1


def link_folder(folder: Path, names: Collection[str], source: Path) -> Links:
    """Make ``folder`` hold exactly one absolute link per name.

    Args:
        folder: made when missing. Files in it that are not links of this program are left alone.
        names: images in ``source``.
        source: folder the links lead to.

    Raises:
        FileExistsError: if a name is taken by something that is not a link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = source.resolve()
    with os.scandir(folder) as entries:
        found = {entry.name: entry.is_symlink() for entry in entries if _LINK_NAME.fullmatch(entry.name)}
    stale = [name for name, is_link in found.items() if is_link and name not in names]
    for name in stale:
        os.unlink(folder / name)
    kept = made = replaced = 0
    for name in tqdm(sorted(names), desc=folder.name, unit=" links", disable=None):
        link, target = os.path.join(folder, name), os.path.join(source, name)
        if name not in found:
            made += 1
        elif not found[name]:
            raise FileExistsError(f"{link} is not a link; move it away and run again.")
        elif os.readlink(link) == target:
            kept += 1
            continue
        else:
            os.unlink(link)
            replaced += 1
        os.symlink(target, link)
    return Links(links=len(names), kept=kept, made=made, replaced=replaced, removed=len(stale))


def prepare(data_dir: Path, output_dir: Path) -> tuple[dict[str, Links], dict[str, list[str]]]:
    """Make the three folders and the report ``prepare_disc.json``.

    Args:
        data_dir: DISC21.
        output_dir: where the folders go.

    Returns:
        Per folder, what became of its links, and the names of the images that are missing.
    """
    protected = {f"{reference}.jpg" for reference in matched_references(data_dir)}
    references, reference_count = numbered_images(data_dir / "references", "R")
    training, training_count = numbered_images(data_dir / "train", "T")
    others = {f"R{number:06d}.jpg" for number in range(reference_count)} - protected
    size = min(NONMATCHING_QUERIES, training_count)
    drawn = random.Random(SAMPLE_SEED).sample(range(training_count), size)
    queries = {f"T{number:06d}.jpg" for number in drawn}
    split = {
        "references_10k": (protected, references, "references"),
        "references_990k": (others, references, "references"),
        "queries_40k": (queries, training, "train"),
    }
    links = {
        folder: link_folder(output_dir / folder, names & present, data_dir / source)
        for folder, (names, present, source) in split.items()
    }
    missing = {folder: sorted(names - present) for folder, (names, present, _) in split.items()}
    report = {folder: asdict(made) for folder, made in links.items()}
    write_json(output_dir / "prepare_disc.json", {**report, "missing": missing})
    return links, missing


def parser() -> argparse.ArgumentParser:
    """The flags of the published program; ``--data_path`` is its other name for ``--data_dir``."""
    built = argparse.ArgumentParser(
        prog="prepare_disc.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    built.add_argument("--data_dir", "--data_path", type=Path, required=True, help="folder of DISC21")
    built.add_argument("--output_dir", type=Path, help="where the links go (default: the folder of DISC21)")
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when the folders are made, 2 when something must be put right first."""
    arguments = parser().parse_args(argv)
    output_dir = arguments.output_dir or arguments.data_dir
    try:
        links, missing = prepare(arguments.data_dir, output_dir)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for folder, made in links.items():
        changes = ", ".join(
            f"{count:,} {change}" for change, count in asdict(made).items() if change != "links"
        )
        lost = f"; {len(missing[folder]):,} images missing" if missing[folder] else ""
        print(f"{output_dir / folder}: {made.links:,} links ({changes}){lost}")
    if any(missing.values()):
        print(f"the missing images are listed in {output_dir / 'prepare_disc.json'}")
    return 0


def _references(file: Path) -> Iterator[str]:
    with open(file, newline="", encoding="utf-8-sig") as rows:
        for number, row in enumerate(csv.reader(rows), start=1):
            cells = [cell.strip() for cell in row]
            heading = number == 1 and not any(character.isdigit() for cell in cells for character in cell)
            if heading or not any(cells):
                continue
            query, reference = [*cells, ""][:2]
            whole = len(cells) <= 2 and re.fullmatch(r"Q\d+", query) and re.fullmatch(r"(R\d{6})?", reference)
            if not whole:
                raise ValueError(
                    f"{file}, line {number}: expected a query and a reference like Q00042,R000123, got {row}."
                )
            if reference:
                yield reference


if __name__ == "__main__":
    run_program(main)
