"""Edit a picture as a thief would: shown in a screenshot of a page, and with a caption above it.

    active-indexing thief photos/coffee.png --output_dir found

Writes found/screenshot.jpg and found/caption.jpg, for a first `query`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from active_indexing.cli.flags import Parser

EDITS = {"screenshot": "overlay_onto_screenshot", "caption": "meme_format"}


def add_parser(parser: Parser) -> None:
    """The picture, and where the edited ones go."""
    parser.add_argument("image", type=Path, help="one image")
    parser.add_argument("--output_dir", type=Path, default=Path("found"), help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Write both pictures and say where they are.

    Raises:
        ValueError: no image that can be read.
    """
    import io

    from PIL import Image

    from active_indexing.artefacts.atomic import write_bytes
    from active_indexing.attacks.registry import default_attacks
    from active_indexing.images.any_image import srgb_of
    from active_indexing.seeding import generator_for

    picture = Image.fromarray(srgb_of(arguments.image)[0])
    attacks = {attack.name: attack for attack in default_attacks()}
    for name, attack in EDITS.items():
        edited = attacks[attack](picture, generator_for(0, 0, attack))
        content = io.BytesIO()
        edited.convert("RGB").save(content, "JPEG", quality=85)
        path = arguments.output_dir / f"{name}.jpg"
        write_bytes(path, content.getvalue())
        print(path)
    return 0
