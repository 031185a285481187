"""Published flags are accepted, or answered with what to give instead."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import timm

from active_indexing.cli import main, published_flags
from active_indexing.cli import run as run_command
from active_indexing.descriptors.networks.architectures import BACKBONES
from active_indexing.training.recipes.registry import RECIPES
from scripts import evaluate_copydays, evaluate_disc, extract_fts, fit_postprocessing, train_descriptor
from tests.programs import run_script

ROOT = Path(__file__).parents[2]
PARSERS = {
    "evaluate_disc": (evaluate_disc.parser, published_flags.EVALUATE_DISC),
    "evaluate_copydays": (evaluate_copydays.parser, published_flags.EVALUATE_COPYDAYS),
    "extract_fts": (extract_fts.parser, published_flags.EXTRACT_FTS),
    "train_descriptor": (train_descriptor.build_parser, published_flags.TRAIN_DESCRIPTOR),
}
FLAGS = [(program, flag) for program, (_, answers) in PARSERS.items() for flag in answers]


def own_flags(parser: argparse.ArgumentParser) -> set[str]:
    return {
        text
        for action in parser._actions
        for text in action.option_strings
        if action.help != argparse.SUPPRESS
    }


@pytest.mark.parametrize(("program", "flag"), FLAGS)
@pytest.mark.parametrize("value", ["", "=x", " x"])
def test_a_published_flag_is_answered_whatever_its_value(
    program: str, flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    build, answers = PARSERS[program]
    with pytest.raises(SystemExit) as left:
        build().parse_args(f"--{flag}{value}".split())
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert f"error: --{flag} is a flag of the published program; here: {answers[flag]}." in told


@pytest.mark.parametrize("program", PARSERS)
def test_answers_name_flags_and_recipes_that_are_there_and_the_help_shows_none_of_the_published(
    program: str,
) -> None:
    build, answers = PARSERS[program]
    parser = build()
    own = own_flags(parser)
    for answer in answers.values():
        if "fit_postprocessing" in answer:
            continue
        assert set(re.findall(r"--\w+", answer)) <= own, answer
        named = re.findall(r"(?:sscd|kd)_(?:simclr|blur|advanced|mixup|icd)\b", answer)
        assert set(named) <= set(RECIPES), answer
    assert not own & {f"--{flag}" for flag in answers}
    assert not {f"--{flag} " for flag in answers if f"  --{flag} " in parser.format_help()}


def test_the_flag_of_another_program_that_an_answer_names_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        fit_postprocessing.main(["--help"])
    assert "--dim " in capsys.readouterr().out


def test_mse_is_the_squared_distance_and_other_words_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    for word, meant in (("mse", "l2"), ("l2", "l2"), ("cossim", "cossim")):
        arguments = main.parser_of("run").parse_args(["--data_dir", "photos", "--loss_f", word])
        assert run_command.config_of(arguments).activation.loss_f == meant
    with pytest.raises(SystemExit):
        main.parser_of("run").parse_args(["--loss_f", "huber"])
    assert "argument --loss_f: invalid choice: 'huber'" in capsys.readouterr().err


def test_trunks_have_the_published_names_too() -> None:
    words: Mapping[str, str] = published_flags.BACKBONE_WORDS
    assert all(name in BACKBONES or timm.is_model(name) for name in words.values())
    parser = train_descriptor.build_parser()
    for word, meant in words.items():
        given = ["--source", "a:1:1", "--output_dir", "out", "--backbone", word]
        assert parser.parse_args(given).backbone == meant


def test_the_published_name_of_the_extraction_program_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script("extract_fts.py", "--data_dir", "no such folder") == 2
    assert capsys.readouterr().err.startswith("error: no folder or archive ")
