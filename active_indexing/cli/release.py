"""Release images into a store: activated, written, measured, recorded; what is there already is recognised.

    active-indexing release photos --store archive

The store is made when there is none. Publish what is in archive/released. Give the same command again after a
kill, or every day: only what is new is released. Descriptor, index, method and codes per image are frozen
when the store is made; flags that differ are refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from active_indexing.activation.config import ActivationConfig
from active_indexing.cli.flags import Parser, add_settings
from active_indexing.config import RunConfig, configure
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.index.config import IndexConfig

# Of a run that is evaluated, and not of a release.
_WITHOUT = (
    "data_dir",
    "output_dir",
    "store",
    "save_imgs",
    "existing",
    "report",
    "log_freq",
    "debug",
    "nprobe",
)


def add_parser(parser: Parser) -> None:
    """The images, the store, and the settings of a release."""
    parser.add_argument("images", type=Path, help="folder of images, searched recursively, or one image")
    parser.add_argument("--store", type=Path, required=True, help="folder of the store")
    parser.add_argument(
        "--wait", type=float, default=0, help="seconds to wait for another program that writes (default: 0)"
    )
    parser.add_argument(
        "--c2pa",
        nargs=2,
        type=Path,
        metavar=("CERT", "KEY"),
        help="sign the released files: chain of certificates and private key, PEM (docs/service.md)",
    )
    for title, kind in (
        ("release", RunConfig),
        ("descriptor", DescriptorConfig),
        ("index", IndexConfig),
        ("activation", ActivationConfig),
    ):
        add_settings(parser.add_argument_group(title), kind, without=_WITHOUT)


def run(arguments: argparse.Namespace) -> int:
    """Release, and tell what became of the images.

    Returns:
        0 when something was released, or all was there already; 1 when nothing could be done.

    Raises:
        ValueError: settings that do not fit the store, or a store that can't be used.
        FileNotFoundError: no images.
        MissingExtraError: --c2pa, and c2pa-python is not installed.
    """
    from active_indexing.integrations.c2pa_signing import Credentials
    from active_indexing.store_run import FROZEN, release

    settings: dict[str, Any] = dict(vars(arguments))
    store, wait, images, signer = (settings.pop(name) for name in ("store", "wait", "images", "c2pa"))
    credentials = None if signer is None else Credentials.read(*signer)
    frozen = not _given(settings, FROZEN)
    config = configure(data_dir=images, output_dir=store, **settings)
    outcome = release(config, store, frozen=frozen, wait=wait, credentials=credentials)
    for path, reason in outcome.skipped:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    for path, row in outcome.removed:
        print(f"not released again {path}: it was removed on {row.removed_at}", file=sys.stderr)
    if config.verbose:
        print(
            f"{len(outcome.released):,} released into {store}, {len(outcome.known):,} were there already, "
            f"{len(outcome.removed):,} removed earlier, {len(outcome.skipped):,} skipped"
        )
    return 0 if outcome.released or outcome.known else 1


def _given(settings: dict[str, Any], frozen: Collection[str]) -> bool:
    """Whether a flag asks for anything that a store freezes."""
    parser = Parser()
    add_parser(parser)
    return any(settings[name] != parser.get_default(name) for name in frozen)
