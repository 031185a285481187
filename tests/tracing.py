"""Run a function in a child process, and kill it at the Nth system call that changes files in a folder.

The child is stopped at every system call (ptrace), so whatever writes is seen: our own code, NumPy, SQLite.
Modes:

    kill    the Nth call is not made
    torn    the Nth call, if it writes bytes, writes half of them
    power   as kill; then everything is lost that no fsync had put on the disk: contents of files as of the
            last fsync of each, names as of the last fsync of each folder
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MODES = ("kill", "torn", "power")

_TRACEME, _GETREGS, _SETREGS, _SYSCALL, _SETOPTIONS = 0, 12, 13, 24, 0x4200
_SYSGOOD, _TRACECLONE, _EXITKILL = 1, 8, 0x100000
_WALL = 0x40000000
_WRITES = {1: "write", 18: "pwrite64", 20: "writev", 296: "pwritev"}
_SYNCS = {74: "fsync", 75: "fdatasync"}
_ON_HANDLES = {**_WRITES, **_SYNCS, 77: "ftruncate", 285: "fallocate"}
_ON_NAMES = {  # system call -> registers that hold a path
    82: ("rdi", "rsi"),  # rename
    264: ("rsi", "r10"),  # renameat
    316: ("rsi", "r10"),  # renameat2
    87: ("rdi",),  # unlink
    263: ("rsi",),  # unlinkat
    83: ("rdi",),  # mkdir
    258: ("rsi",),  # mkdirat
}
_REGISTERS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base "
    "gs_base ds es "
    "fs gs"
).split()


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in _REGISTERS]


def available() -> bool:
    """Whether processes may be traced here."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _ptrace(_TRACEME, 0, 0, 0) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


@dataclass(frozen=True)
class Trace:
    """What became of the child.

    Attributes:
        calls: system calls that would change files in the folder, up to the end or the kill.
        finished: it ended by itself, without an error.
        told: lines that it wrote to its pipe.
    """

    calls: int
    finished: bool
    told: tuple[str, ...]


def traced(
    function: Callable[[Callable[[str], None]], None], folder: Path, at: int | None, mode: str
) -> Trace:
    """Run ``function(tell)`` in a child that dies at call number ``at`` (from 1), or at none.

    Args:
        function: what it tells is known outside, whatever becomes of it.
        folder: calls that change files in it are counted.
        at: number of the call; ``None``: the child lives.
        mode: of ``MODES``.
    """
    disk = Disk(folder) if mode == "power" else None
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(function, write)
    os.close(write)
    calls, finished = _follow(pid, str(folder), at, mode, disk)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read().decode().splitlines()
    if disk is not None:
        if not finished:
            disk.restore()
        disk.close()
    return Trace(calls, finished, tuple(told))


def _child(function: Callable[[Callable[[str], None]], None], pipe: int) -> None:
    status = 1
    try:
        _ptrace(_TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        function(lambda line: os.write(pipe, f"{line}\n".encode()) and None)
        status = 0
    finally:
        os._exit(status)


def _follow(pid: int, folder: str, at: int | None, mode: str, disk: Disk | None) -> tuple[int, bool]:
    os.waitpid(pid, 0)
    _ptrace(_SETOPTIONS, pid, 0, _SYSGOOD | _TRACECLONE | _EXITKILL)
    _ptrace(_SYSCALL, pid, 0, 0)
    tracer = _Tracer(pid, folder, at, mode, disk)
    while True:
        thread, status = os.waitpid(-1, _WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if thread == pid:
                return tracer.calls, os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            continue
        caught, deliver = os.WSTOPSIG(status), 0
        if caught == signal.SIGTRAP | 0x80:
            if tracer.stopped(thread):
                return tracer.calls, _killed(pid)
        elif caught not in (signal.SIGTRAP, signal.SIGSTOP):
            deliver = caught
        _ptrace(_SYSCALL, thread, 0, deliver)


class _Tracer:
    """Counts calls, and says when the child must die."""

    def __init__(self, pid: int, folder: str, at: int | None, mode: str, disk: Disk | None) -> None:
        self.calls = 0
        self._pid, self._folder, self._at, self._mode, self._disk = pid, folder, at, mode, disk
        self._entered: set[int] = set()
        self._dying: set[int] = set()
        self._syncing: dict[int, int] = {}

    def stopped(self, thread: int) -> bool:
        """A thread enters a call, or leaves one; whether the child must die now."""
        if thread not in self._entered:
            self._entered.add(thread)
            return self._enters(thread)
        self._entered.remove(thread)
        if thread in self._syncing and self._disk is not None:
            self._disk.synced(thread, self._syncing.pop(thread))
        return thread in self._dying

    def _enters(self, thread: int) -> bool:
        registers = Registers()
        _ptrace(_GETREGS, thread, 0, ctypes.byref(registers))
        if not _changes(thread, registers, self._folder):
            return False
        self.calls += 1
        if self._disk is not None and registers.orig_rax in _SYNCS:
            self._syncing[thread] = registers.rdi
        if self.calls != self._at:
            return False
        if self._mode != "torn" or registers.orig_rax not in (1, 18) or registers.rdx < 2:
            return True
        registers.rdx //= 2
        _ptrace(_SETREGS, thread, 0, ctypes.byref(registers))
        self._dying.add(thread)
        return False


def _killed(pid: int) -> bool:
    os.kill(pid, signal.SIGKILL)
    while True:
        thread, status = os.waitpid(-1, _WALL)
        if thread == pid and (os.WIFSIGNALED(status) or os.WIFEXITED(status)):
            return False


def _changes(thread: int, registers: Registers, folder: str) -> bool:
    call = registers.orig_rax
    if call in _ON_HANDLES:
        try:
            return os.readlink(f"/proc/{thread}/fd/{registers.rdi}").startswith(folder)
        except OSError:
            return False
    return any(_path(thread, getattr(registers, name)).startswith(folder) for name in _ON_NAMES.get(call, ()))


def _path(thread: int, address: int) -> str:
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(4096 - address % 4096 or 4096).split(b"\0", 1)[0].decode(errors="replace")


class Disk:
    """What is on the disk for sure: contents and names as of the last fsync of each file and folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        self._held: list[int] = []  # an open file keeps its number from being used again
        self._root = folder.stat().st_ino
        for below, _, files in os.walk(folder):
            self._keep(Path(below))
            for name in files:
                self._keep(Path(below, name))

    def synced(self, thread: int, handle: int) -> None:
        """Note a file or folder that a process has synced."""
        self._keep(Path(f"/proc/{thread}/fd/{handle}"))

    def restore(self) -> None:
        """Make the folder what it is after the power failed."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._fill(self.folder, self._root)

    def close(self) -> None:
        """Let go of the files."""
        for handle in self._held:
            os.close(handle)

    def _keep(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY)
        number = os.fstat(handle).st_ino
        if os.path.isdir(path):
            with os.scandir(handle) as entries:
                self._names[number] = {each.name: (each.inode(), each.is_dir()) for each in entries}
        else:
            with open(os.dup(handle), "rb") as file:
                file.seek(0)
                self._contents[number] = file.read()
        self._held.append(handle)

    def _fill(self, folder: Path, number: int) -> None:
        for name, (inner, is_folder) in self._names.get(number, {}).items():
            if is_folder:
                (folder / name).mkdir()
                self._fill(folder / name, inner)
            elif not name.endswith("-shm"):  # SQLite's shared memory, made anew by whoever opens the database
                (folder / name).write_bytes(self._contents.get(inner, b""))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int, data: object) -> int:
    return int(_libc.ptrace(request, pid, address, data))
