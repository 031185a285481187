"""The command ``active-indexing``: one module of this package per command."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from active_indexing.cli import interrupts
from active_indexing.cli.flags import Parser, did_you_mean
from active_indexing.extras import MissingExtraError

PROG = "active-indexing"
COMMANDS = {
    "run": "release a folder of images, activated or as they are, and evaluate it",
    "release": "release images into a store; what is there already is recognised",
    "query": "ask a store about images: is it ours, which one, how sure?",
    "store": "look after a store: status, verify, repair, remove, rebuild, export",
    "serve": "answer over HTTP: a page for moderators, an API for programs",
    "token": "who may ask over HTTP: add, list, revoke",
    "thief": "edit a picture as a thief would: screenshot and caption",
    "calibrate": "measure the threshold of query on images that are not yours",
    "report": "one page about finished runs, side by side",
    "blind": "a page that tests whether you can see the change",
    "demo": "write the demo photos into a folder",
    "doctor": "look whether everything is there that a release needs",
}
"""Command to one sentence. ``cli/NAME.py`` has a docstring, which is shown, ``add_parser(parser)``, which
adds the flags, ``run(arguments)``, which does it and returns the exit code, and perhaps
``parse(parser, argv)``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line.

    Flags without a command are those of ``run``.

    Returns:
        0 when it was done, 1 when nothing could be done, 2 for wrong flags or files, 130 when interrupted;
        running the same command again goes on.
    """
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        interrupts.tell()
        return interrupts.EXIT_CODE


def _main(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] == "--version":
        from active_indexing import __version__

        print(f"{PROG} {__version__}")
        return 0
    name = "run" if given[0].startswith("-") else given.pop(0)
    if name not in COMMANDS:
        meant = did_you_mean(name, COMMANDS)
        print(f"error: unknown command {name!r}{meant or f'; {PROG} --help lists them.'}", file=sys.stderr)
        return 2
    return _done(import_module(f"active_indexing.cli.{name}"), name, given)


def overview() -> str:
    """What ``--help`` shows without a command."""
    lines = [f"  {name:<12}{sentence}" for name, sentence in COMMANDS.items()]
    return "\n".join(
        (
            f"usage: {PROG} COMMAND ...",
            "",
            *lines,
            "",
            f"{PROG} COMMAND --help explains one; flags without a command are those of run.",
        )
    )


def parser_of(name: str) -> Parser:
    """The parser of one command."""
    return _parser(import_module(f"active_indexing.cli.{name}"), name)


def _parser(command: ModuleType, name: str) -> Parser:
    program = Path(sys.argv[0]).name
    parser = Parser(
        prog=program if (program, name) == ("main.py", "run") else f"{PROG} {name}",
        description=command.__doc__,
    )
    command.add_parser(parser)
    return parser


def _done(command: ModuleType, name: str, argv: list[str]) -> int:
    parser = _parser(command, name)
    try:
        parse = getattr(command, "parse", Parser.parse_args)
        arguments = parse(parser, argv)
        with warnings.catch_warnings():
            warnings.showwarning = _one_line
            return int(command.run(arguments))
    except (ValueError, OSError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        print(
            "error: not enough memory; give fewer --workers, a smaller --batch_size or --resize_size, or "
            "smaller images.",
            file=sys.stderr,
        )
        return 2


def _out_of_memory(error: Exception) -> bool:
    """Python, NumPy and FAISS raise MemoryError; torch a RuntimeError that says so."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error)


def _one_line(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a sentence, without the file and line of the program that gave it."""
    print(f"warning: {message}", file=sys.stderr)
