"""What the commands' flags share: a flag per setting, strict booleans, the nearest flag for a typo."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Collection, Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from active_indexing.config import types_of
from active_indexing.descriptors.config import DescriptorConfig

if TYPE_CHECKING:
    import torch

    from active_indexing.extraction.folders import FolderExtractor

ALIKE = 0.6  # difflib's own default of how alike two words must be


class Parser(argparse.ArgumentParser):
    """A parser that never guesses a shortened flag, and names the nearest one for a typo."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Leave with 2; a flag that does not exist is answered with the one that was meant."""
        if message.startswith("unrecognized arguments: "):
            unknown = message.removeprefix("unrecognized arguments: ").split()
            message += "".join(self._meant(text) for text in unknown if text.startswith("--"))
        super().error(message)

    def _meant(self, flag: str) -> str:
        name = flag.split("=", 1)[0].replace("-", "_").replace("__", "--", 1)
        return did_you_mean(name, self._option_string_actions)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` for the word that is most like it, or nothing."""
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=ALIKE)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def boolean(text: str) -> bool:
    """yes, true, t, y, 1 or no, false, f, n, 0, in any case; anything else is an error."""
    lowered = text.lower()
    if lowered in ("yes", "true", "t", "y", "1"):
        return True
    if lowered in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")


def add_settings(parser: Any, kind: type, *, without: Collection[str] = ()) -> None:
    """One flag for every field of a dataclass of settings, with its default, choices and help.

    Args:
        parser: a parser or a group of one.
        kind: dataclass whose fields were made with ``checks.setting``.
        without: fields that get no flag.
    """
    types = types_of(kind)
    for field in fields(kind):
        if field.name in without or "help" not in field.metadata:
            continue
        text = field.metadata["help"]
        parser.add_argument(
            f"--{field.name}",
            type=boolean if types[field.name] is bool else types[field.name],
            default=None if field.default is MISSING else field.default,
            choices=field.metadata.get("choices"),
            help=text if "(default" in text else f"{text} (default: %(default)s)",
        )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of an evaluation program that say which descriptor describes its images."""
    from active_indexing.extraction.folders import FolderExtractor

    add_settings(parser, DescriptorConfig)
    parser.add_argument(
        "--batch_size",
        type=int,
        default=FolderExtractor.batch_size,
        help="images per pass of the network (default: %(default)s)",
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--workers", type=int, default=cores, help="processes that decode (default: one per core)"
    )


def describer(arguments: argparse.Namespace, folder: Path, device: torch.device) -> FolderExtractor:
    """The describer that the flags of :func:`add_flags` ask for.

    Raises:
        ValueError: a flag out of its range.
    """
    from active_indexing.extraction.folders import FolderExtractor

    config = DescriptorConfig(
        **{each.name: getattr(arguments, each.name) for each in fields(DescriptorConfig)}
    )
    return FolderExtractor(folder, config, device, arguments.batch_size, arguments.workers)
