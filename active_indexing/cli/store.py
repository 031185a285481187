"""Look after a store.

    active-indexing store status archive

Commands: status, verify, repair, remove, rebuild, export; `active-indexing store COMMAND --help` explains
one.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from active_indexing.cli.flags import Parser

if TYPE_CHECKING:
    from active_indexing.api.store import ReleaseStore

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SHOWN = 50  # lines of damage; a sentence says how many there are

_STATUS = """How many images it holds, its last run, its contract.

    active-indexing store status archive
"""
_VERIFY = """Compare every file, hash, code and vector with what was recorded; 1 when something is damaged.

    active-indexing store verify archive --max_age 4w --max_duration 1h

Damaged images come first, then the least recently verified ones.
"""
_REPAIR = """Say what can be repaired and how; with --apply do it. Other programs must not write meanwhile.

    active-indexing store repair archive
"""
_REMOVE = """Take images down: nobody finds them any more, and no run over their folder releases them again.

    active-indexing store remove archive 6917529027641081856

Codes, descriptors and the store's own released file are deleted; hashes and the day stay on record.
"""
_REBUILD = """Make the index file again from the codes in the database; no image is read.

    active-indexing store rebuild archive
"""
_EXPORT = """Write ids, descriptors, codes and all that was trained as .npy, JSON and (with pyarrow) Parquet.

    active-indexing store export archive exported
"""


def add_parser(parser: Parser) -> None:
    """A parser for each command."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name, text in (("status", _STATUS), ("verify", _VERIFY), ("repair", _REPAIR), ("remove", _REMOVE),
                       ("rebuild", _REBUILD), ("export", _EXPORT)):  # fmt: skip
        command = commands.add_parser(name, description=text, help=text.split("\n", 1)[0])
        command.add_argument("store", type=Path, help="folder of the store")
        _FLAGS.get(name, lambda _: None)(command)
        command.set_defaults(do=_COMMANDS[name])


def run(arguments: argparse.Namespace) -> int:
    """Do the command.

    Returns:
        0 when it was done and all is well, 1 when nothing was done or something is damaged.

    Raises:
        ValueError: a store that can't be used.
        FileNotFoundError: no store.
    """
    return int(arguments.do(arguments))


def duration(text: str) -> float:
    """``90``, ``15m``, ``12h``, ``3d`` or ``4w`` in seconds."""
    parsed = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text)
    if parsed is None:
        raise argparse.ArgumentTypeError(f"expected a time like 90, 15m, 12h, 3d or 4w, got {text!r}")
    return float(parsed[1]) * _SECONDS[parsed[2] or "s"]


def _verify_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max_age", "--max-age", type=duration, help="pass over images verified within this time"
    )
    parser.add_argument(
        "--max_duration", "--max-duration", type=duration, help="begin no further image after this time"
    )


def _repair_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--apply", action="store_true", help="do it (default: only say what would be done)")
    _wait_flag(parser)


def _remove_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", type=int, nargs="+", metavar="ID", help="ids, as query tells them")
    _wait_flag(parser)


def _export_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="where the export goes")


def _wait_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", type=float, default=0, help="seconds to wait for another writer")


def _opened(arguments: argparse.Namespace) -> ReleaseStore:
    from active_indexing.api.store import ReleaseStore  # loads torch

    return ReleaseStore(arguments.store, wait=getattr(arguments, "wait", 0))


def _status(arguments: argparse.Namespace) -> int:
    told = _opened(arguments).status()
    print(f"{arguments.store}: {told.released:,} images released, {told.removed:,} removed")
    print(
        f"descriptor {told.descriptor}, index {told.factory} ({told.metric}), method {told.method}, "
        f"{told.entries} codes per image"
    )
    name = "none yet" if told.index_file is None else told.index_file.name
    print(f"index file: {name}, {told.behind:,} images behind the database")
    print(f"verified: {told.verified:,} images, {told.damaged:,} of them damaged")
    if told.last_run is not None:
        last = told.last_run
        print(f"last run: {last.started_at}, {last.released:,} released, {len(last.failures):,} failed")
        for source, reason in last.failures:
            print(f"  {source}: {reason}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    result = _opened(arguments).verify(
        max_age=arguments.max_age, max_duration=arguments.max_duration, progress=True
    )
    for damage in result.damage[:_SHOWN]:
        print(f"{damage.what}: {damage.how}")
    if len(result.damage) > _SHOWN:
        print(f"... and {len(result.damage) - _SHOWN:,} more")
    told = f"; `active-indexing store repair {arguments.store}` says what can be done"
    print(
        f"{result.checked:,} images verified, {result.recent:,} verified lately, {result.left:,} left for "
        f"the next time, {len(result.damage):,} damaged{told if result.damage else ''}"
    )
    if result.unread:
        print("the database file was not read to its end: give --max_duration more time")
    return 1 if result.damage else 0


def _repair(arguments: argparse.Namespace) -> int:
    repairs = _opened(arguments).repair(apply=arguments.apply, progress=True)
    for each in repairs:
        done = "done: " if each.done else "would " if each.possible else "only you can: "
        print(f"{each.damage.what}: {each.damage.how}; {done}{each.damage.remedy}")
    if not repairs:
        print("nothing is damaged")
    elif not arguments.apply:
        print("nothing was done; give --apply to do it")
    return 0 if all(each.done for each in repairs) else 1


def _remove(arguments: argparse.Namespace) -> int:
    rows = _opened(arguments).remove(arguments.ids)
    for image_id, row in rows.items():
        if row is None:
            print(f"no released image has the id {image_id}", file=sys.stderr)
        else:
            kept = "" if row.is_inside else "; its file is kept elsewhere, delete it yourself"
            print(f"removed {image_id} ({row.released}){kept}")
    return 0 if any(row is not None for row in rows.values()) else 1


def _rebuild(arguments: argparse.Namespace) -> int:
    store = _opened(arguments)
    print(f"{store.rebuild()} holds {store.status().released:,} images")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    made = _opened(arguments).export(arguments.folder)
    missing = "" if made.parquet else "; images.parquet needs pyarrow (pip install 'active-indexing[export]')"
    print(f"{made.folder} holds {made.images:,} images, {made.entries:,} codes{missing}")
    return 0


_FLAGS = {"verify": _verify_flags, "repair": _repair_flags, "remove": _remove_flags, "export": _export_flags}
_COMMANDS = {"status": _status, "verify": _verify, "repair": _repair, "remove": _remove, "rebuild": _rebuild,
             "export": _export}  # fmt: skip
