"""The demo set: photos that ship inside scikit-image and scikit-learn, nothing is downloaded.

``photos/`` holds twenty photos to protect, ``non_matching/`` five pictures that are in no index. The
packages' READMEs name the photographers and the licences.
"""

from __future__ import annotations

import argparse
from importlib.resources import as_file, files
from pathlib import Path

from active_indexing.artefacts.atomic import write_bytes
from active_indexing.cli.flags import Parser
from active_indexing.extras import require

PHOTOS = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png",
    "coins.png", "color.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "china.jpg", "flower.jpg",
)  # fmt: skip
NON_MATCHING = ("horse.png", "logo.png", "microaneurysms.png", "phantom.png", "text.png")
_PACKAGES = ("skimage.data", "sklearn.datasets.images")


def add_parser(parser: Parser) -> None:
    """Where the photos go."""
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("demo"), help="made when missing (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write them and say where they are."""
    photos, non_matching = write_demo(arguments.folder)
    print(f"{photos} holds photos to protect, {non_matching} pictures that are in no index")
    return 0


def write_demo(folder: Path) -> tuple[Path, Path]:
    """Copy the demo set into a folder; files that are there already stay.

    Args:
        folder: made when missing.

    Returns:
        Folder of photos to protect, folder of non-matching pictures.

    Raises:
        FileNotFoundError: an installed package no longer ships one of the files.
    """
    for package in ("skimage", "sklearn"):
        require(package, "demo")
    photos, non_matching = folder / "photos", folder / "non_matching"
    for names, target in ((PHOTOS, photos), (NON_MATCHING, non_matching)):
        for name in names:
            if not (target / name).exists():
                write_bytes(target / name, _shipped(name))
    return photos, non_matching


def _shipped(name: str) -> bytes:
    for package in _PACKAGES:
        with as_file(files(package) / name) as path:
            if path.is_file():
                return path.read_bytes()
    raise FileNotFoundError(
        f"neither scikit-image nor scikit-learn ships {name} any more: install the versions of "
        "requirements.txt, or give --data_dir a folder of your own."
    )
