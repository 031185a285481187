"""Unpack Copydays into the folders that scripts/evaluate_copydays.py reads.

    python data/prepare_copydays.py --data_dir ARCHIVES [--output_dir OUT]

ARCHIVES holds copydays_original.tar.gz, copydays_strong.tar.gz, copydays_jpeg.tar.gz and
copydays_crop.tar.gz, or some of them. OUT (ARCHIVES itself if not given) gets original/, strong/,
jpegqual/3/ ... 75/ and crops/10/ ... 80/. Files that are there already with the right size are left alone,
so the program may be run again. Blocks that are not complete are listed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from active_indexing.artefacts.atomic import write_bytes
from active_indexing.cli.interrupts import run_program
from active_indexing.evaluation.protocols.copydays import BLOCKS, ORIGINAL, SIZES, STRONG

ARCHIVES = ("copydays_original", "copydays_strong", "copydays_jpeg", "copydays_crop")
ENDINGS = (".tar.gz", ".tgz", ".tar")
_GRADED = re.compile(r"(?:^|/)(jpegqual|crops)/(\d+)/[^/]+$")


def block_of(archive: str, member: str) -> str | None:
    """The block a file of an archive belongs to, or ``None`` if it is no image of Copydays.

    Args:
        archive: name of the archive without its ending.
        member: path in the archive; originals and strong copies may lie in any folder.
    """
    if PurePosixPath(member).suffix.lower() != ".jpg":
        return None
    graded = _GRADED.search(member)
    if graded:
        block = f"{graded[1]}/{graded[2]}"
        return block if block in BLOCKS else None
    return {"copydays_original": ORIGINAL, "copydays_strong": STRONG}.get(archive)


def prepare(data_dir: Path, output_dir: Path) -> dict[str, int]:
    """Unpack the archives and count the images of every block.

    Args:
        data_dir: folder of the archives.
        output_dir: made when missing.

    Returns:
        Block -> number of images in its folder, for all blocks.

    Raises:
        FileNotFoundError: neither an archive nor an unpacked block.
        ValueError: an archive that is damaged.
    """
    for name, path in _archives(data_dir):
        try:
            _unpack(name, path, output_dir)
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged or truncated ({error}); fetch it again.") from error
    counts = {block: len(list((output_dir / block).glob("*.jpg"))) for block in BLOCKS}
    if not any(counts.values()):
        raise FileNotFoundError(
            f"no archives such as {ARCHIVES[0]}{ENDINGS[0]} in {data_dir}; copy the archives there."
        )
    return counts


def _archives(folder: Path) -> Iterator[tuple[str, Path]]:
    for name in ARCHIVES:
        for ending in ENDINGS:
            if (folder / f"{name}{ending}").is_file():
                yield name, folder / f"{name}{ending}"


def _unpack(name: str, path: Path, output_dir: Path) -> None:
    """Only the last part of a member's name is used, so that an archive can't write anywhere else."""
    with tarfile.open(path) as archive:
        for member in archive:
            block = block_of(name, member.name) if member.isreg() else None
            if block is None:
                continue
            target = output_dir / block / PurePosixPath(member.name).name
            if target.is_file() and target.stat().st_size == member.size:
                continue
            content = archive.extractfile(member)
            assert content is not None
            write_bytes(target, content.read())


def parser() -> argparse.ArgumentParser:
    """The flags."""
    built = argparse.ArgumentParser(
        prog="prepare_copydays.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    built.add_argument("--data_dir", type=Path, required=True, help="folder of the archives")
    built.add_argument("--output_dir", type=Path, help="where the folders go (default: that folder)")
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when the folders are made, 2 when something must be put right first."""
    arguments = parser().parse_args(argv)
    output_dir = arguments.output_dir or arguments.data_dir
    try:
        counts = prepare(arguments.data_dir, output_dir)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{output_dir}: {sum(counts.values()):,} images in {sum(map(bool, counts.values()))} blocks")
    for block, count in counts.items():
        if count != SIZES[block]:
            print(f"{block}: {count} images, the whole block has {SIZES[block]}")
    return 0


if __name__ == "__main__":
    run_program(main)
