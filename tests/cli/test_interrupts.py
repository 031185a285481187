"""Ctrl-C in programs that are at all kinds of things."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from active_indexing.cli.interrupts import SENTENCE

ROOT = Path(__file__).parents[2]
START = """
import sys, time
from active_indexing.cli.interrupts import exit_with, leave_quietly, tell
leave_quietly()
def wait():
    print("ready", flush=True)
    time.sleep(20)
"""


def pressed(program: str, times: int = 1, ignored: bool = False) -> tuple[int, str, str]:
    """Exit code, output and messages of a program to which Ctrl-C was given each time that it was ready."""
    how = signal.SIG_IGN if ignored else signal.default_int_handler
    process = subprocess.Popen(
        [sys.executable, "-c", START + program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, preexec_fn=lambda: signal.signal(signal.SIGINT, how),
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        for _ in range(times):
            assert process.stdout.readline() == "ready\n"
            os.kill(process.pid, signal.SIGINT)
        told, error = process.communicate(timeout=20)
    return process.returncode, told, error


def test_the_first_one_stops_in_order_and_the_code_is_130() -> None:
    program = """
def main():
    try:
        wait()
    except KeyboardInterrupt:
        print("put away")
        tell()
        return 130
exit_with(main)
"""
    assert pressed(program) == (130, "put away\n", SENTENCE)


def test_a_second_one_ends_it_at_once() -> None:
    program = """
try:
    wait()
finally:
    wait()
    print("never")
"""
    assert pressed(program, times=2) == (130, "", SENTENCE)


def test_one_while_a_module_is_imported_ends_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import __main__\n__main__.wait()\n")
    program = f"""
sys.path.insert(0, {str(tmp_path)!r})
try:
    import slow
except KeyboardInterrupt:
    print("half a module")
"""
    assert pressed(program) == (130, "", SENTENCE)


def test_one_in_a_destructor_is_not_forgotten() -> None:
    program = """
class Thing:
    def __del__(self):
        wait()
thing = Thing()
del thing
print("went on")
"""
    assert pressed(program) == (130, "", SENTENCE)


def test_other_faults_of_destructors_are_told_as_ever() -> None:
    program = """
class Thing:
    def __del__(self):
        raise ValueError("a fault")
thing = Thing()
del thing
"""
    code, _, error = pressed(program, times=0)
    assert code == 0
    assert "ValueError: a fault" in error


def test_where_it_is_ignored_it_stays_ignored() -> None:
    program = """
time.sleep = lambda seconds: None
wait()
wait()
"""
    assert pressed(program, times=2, ignored=True)[0] == 0


@pytest.mark.parametrize("command", [["main.py"], ["-m", "active_indexing", "run"]])
def test_commands_listen_before_they_load_anything(command: list[str]) -> None:
    program = [sys.executable, "-X", "importtime", *command, "--help"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = [line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line]
    before = loaded[loaded.index("site") : loaded.index("active_indexing.cli.interrupts")]
    assert not {"typing", "argparse", "pathlib", "numpy"} & set(before)


def test_a_program_that_knows_of_no_interrupt_ends_with_the_sentence_too() -> None:
    program = """
from active_indexing.cli.interrupts import run_program
run_program(wait)
"""
    assert pressed(program) == (130, "", SENTENCE)


def test_every_program_beside_the_package_is_run_that_way() -> None:
    programs = [ROOT / "extract_fts.py", *(ROOT / "scripts").glob("*.py"), *(ROOT / "data").glob("*.py")]
    started = [path for path in programs if '__name__ == "__main__"' in path.read_text()]
    assert len(started) > 20
    for path in started:
        assert path.read_text().endswith('if __name__ == "__main__":\n    run_program(main)\n'), path.name
