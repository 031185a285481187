"""Ctrl-C at any moment: one sentence, exit code 130, no traceback.

The first one stops the command in order: workers end, temporary files go, the log of a run says so. A second
one, or one while a module is imported, ends the process at once; what was written stays whole.
This module imports next to nothing, as it is loaded first: only the start of Python itself is before it.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # typing takes 10 ms to import, in which Ctrl-C would show a traceback
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, NoReturn

EXIT_CODE = 130
"""As shells have it: 128 and the number of SIGINT."""

SENTENCE = "interrupted; run the same command again to go on.\n"

_told = False


def leave_quietly() -> None:
    """From now on Ctrl-C does what this module says; where it is ignored (``nohup``) it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Interrupts())
        sys.unraisablehook = _unraisable


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Run a command as a process of its own.

    Args:
        main: gives the exit code.
    """
    code = main()
    if (
        code == EXIT_CODE
    ):  # everything is put away; while Python ends, a second Ctrl-C would be a signal's death
        _leave()
    sys.exit(code)


def run_program(main: Callable[[], int]) -> NoReturn:
    """Run the ``main`` of a program in scripts/ or data/ as a process of its own."""
    leave_quietly()
    try:
        code = main()
    except KeyboardInterrupt:
        tell()
        code = EXIT_CODE
    exit_with(lambda: code)


def tell() -> None:
    """Say that the command was interrupted."""
    global _told
    _told = True
    sys.stderr.write(SENTENCE)


class _Interrupts:
    """The handler of SIGINT."""

    def __init__(self) -> None:
        self._first = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        first, self._first = self._first, False
        if not first or _imports(frame):
            _leave()
        raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported: libraries that are half there may not survive an exception."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _unraisable(unraisable: Any) -> None:
    """An interrupt that fell into a destructor or a callback, which Python would print and forget."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _leave()
    sys.__unraisablehook__(unraisable)


def _leave() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001 - it may have been at just that
            pass
    if not _told:
        os.write(2, SENTENCE.encode())
    os._exit(EXIT_CODE)
