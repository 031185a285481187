"""docs/published_systems.md against the parsers: what it names exists, what it lists is understood."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from active_indexing.cli import main, published_flags
from data import prepare_disc
from scripts import (
    convert_track2_format,
    evaluate_copydays,
    evaluate_disc,
    extract_fts,
    fit_postprocessing,
    train_descriptor,
)
from tests.cli.test_main import PUBLISHED

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "published_systems.md").read_text()
PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "main.py": lambda: main.parser_of("run"),
    "extract_fts.py": extract_fts.parser,
    "scripts/extract_fts.py": extract_fts.parser,
    "data/prepare_disc.py": prepare_disc.parser,
    "scripts/evaluate_disc.py": evaluate_disc.parser,
    "scripts/evaluate_copydays.py": evaluate_copydays.parser,
    "scripts/train_descriptor.py": train_descriptor.build_parser,
    "scripts/convert_track2_format.py": convert_track2_format.parser,
}
FLAG = re.compile(r"`(--[\w-]+)`")


def sections() -> list[tuple[str, str]]:
    """(our program, text) of every heading that names one."""
    parts = re.split(r"^### (.+)$", PAGE, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [(found[1], text) for title, text in pairs if (found := re.search(r": `(\S+)`$", title))]


def rows(text: str) -> list[tuple[list[str], str]]:
    """Published flags, and what stands beside them."""
    cells = re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    return [(FLAG.findall(published), here) for published, here in cells if published != "published"]


CASES = [(program, *row) for program, text in sections() for row in rows(text)]


@cache
def flags_of(program: str) -> tuple[set[str], set[str]]:
    """Flags that a program has, and published ones that it answers."""
    own: set[str] = set()
    answered: set[str] = set()
    for action in PARSERS[program]()._actions:
        (answered if hasattr(action, "answer") else own).update(action.option_strings)
    return own, answered


@pytest.mark.parametrize(("program", "published", "here"), CASES)
def test_every_row_holds(program: str, published: list[str], here: str) -> None:
    own, answered = flags_of(program)
    assert set(FLAG.findall(here)) <= own
    assert set(published) <= (own if here.startswith("the same") else own | answered)
    if here.startswith("the same"):
        return
    # What is no flag of ours is answered, but for words of the table that are no flag (the loss's batch).
    assert set(published) <= answered or FLAG.findall(here) == ["--loss_batch"]


def test_the_page_has_every_program_and_every_flag_that_is_answered() -> None:
    listed: dict[str, set[str]] = {}
    for program, published, _ in CASES:
        listed.setdefault(program, set()).update(published)
    assert listed["main.py"] >= {f"--{name}" for name in PUBLISHED}
    for program in ("evaluate_disc", "evaluate_copydays", "extract_fts", "train_descriptor"):
        answers = getattr(published_flags, program.upper())
        missing = {f"--{flag}" for flag in answers} - listed[f"scripts/{program}.py"]
        assert missing <= ({"--student"} if program == "evaluate_copydays" else set())


def commands() -> list[str]:
    table = PAGE.split("## active_indexing")[0]
    return [here for _, here in re.findall(r"^\| `(.+?)` \| `python (.+?)` \|$", table, re.MULTILINE)]


@pytest.mark.parametrize("command", commands())
def test_our_commands_of_the_page_are_understood(command: str) -> None:
    program, *arguments = shlex.split(command)
    assert (ROOT / program).is_file()
    parser = PARSERS[program]()
    if "FLAGS" in arguments:
        arguments.remove("FLAGS")
        own = {text for action in parser._actions for text in action.option_strings}
        assert {text for text in arguments if text.startswith("--")} <= own
        return
    arguments = [text for text in arguments if text != "..."]
    parsed = parser.parse_args(arguments)
    if program == "scripts/train_descriptor.py":
        assert train_descriptor.settings(parsed)[0].learning_rate == pytest.approx(4.8)


def test_there_are_commands_and_rows_and_the_program_that_a_row_names() -> None:
    assert (len(commands()), len(sections())) == (10, 14)
    assert len(CASES) > 55
    assert fit_postprocessing.__file__ is not None
    assert (ROOT / "scripts" / "fit_postprocessing.py").is_file()
