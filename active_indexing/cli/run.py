"""Activate a folder of images before publishing, or write the passive baseline.

    python main.py --active True      move every image towards its place in the index, attack it, search it
    python main.py --active False     the same with the images as they are

Without data flags it runs on twenty demo photos, the default descriptor and the default index.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import active_indexing
from active_indexing.checks import regular_file
from active_indexing.cli.flags import Parser, add_settings, boolean
from active_indexing.cli.published_flags import LOSS_WORDS, accept_words
from active_indexing.config import STAGES, RunConfig, configure

OUTPUT = Path("output")
NO_SETTINGS = ("config", "dry_run")
"""Flags that are no settings of a run."""


def add_parser(parser: Parser) -> None:
    """One flag per field of the settings, in a group per stage."""
    run_group = parser.add_argument_group("run")
    run_group.add_argument(
        "--config",
        type=Path,
        metavar="RUN.JSON",
        help="settings of a finished run, which other flags change (default: those below)",
    )
    run_group.add_argument(
        "--dry_run",
        type=boolean,
        nargs="?",
        const=True,
        default=False,
        help="look at the images, tell what would be skipped, the hours and the disk, and write nothing",
    )
    add_settings(run_group, RunConfig)
    for title, group in STAGES.items():
        add_settings(parser.add_argument_group(title), group)
    accept_words(parser, "loss_f", LOSS_WORDS)


def parse(parser: Parser, argv: list[str]) -> argparse.Namespace:
    """The flags, over the settings of ``--config`` where it is given.

    Raises:
        ValueError: the file of ``--config`` is no run.json, or holds settings that we don't have.
        FileNotFoundError: there is no such file.
    """
    arguments = parser.parse_args(argv)
    if arguments.config is not None:
        parser.set_defaults(**_settings_of(arguments.config, known=vars(arguments)))
        arguments = parser.parse_args(argv)
    return arguments


def _settings_of(run_json: Path, known: dict[str, Any]) -> dict[str, Any]:
    regular_file(run_json, "settings file", "give --config the run.json of a finished run")
    try:
        config = json.loads(run_json.read_text())["config"]
        stages = {name: value for stage in STAGES for name, value in config.pop(stage, {}).items()}
        flat = {**config, **stages}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"--config wants the run.json of a finished run, and {run_json} is none.") from error
    if unknown := sorted(flat.keys() - known.keys()):
        raise ValueError(f"{run_json} holds settings of another version: {', '.join(unknown)}.")
    return flat


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """The settings that the flags stand for; without --data_dir the demo set is written and used.

    Raises:
        ValueError: a setting out of its range.
    """
    settings = {name: value for name, value in vars(arguments).items() if name not in NO_SETTINGS}
    arm = "active" if settings["active"] else "passive"
    settings["output_dir"] = settings["output_dir"] or OUTPUT / arm
    if settings["data_dir"] is None:
        from active_indexing.cli.demo import write_demo

        settings["data_dir"], non_matching = write_demo(OUTPUT / "demo")
        settings["query_nonmatch_dir"] = settings["query_nonmatch_dir"] or non_matching
    return configure(**settings)


def run(arguments: argparse.Namespace) -> int:
    """Do it.

    Returns:
        0 when at least one image was released, 1 when nothing could be done.
    """
    if arguments.dry_run:
        return _look(arguments)
    config = config_of(arguments)
    summary = active_indexing.run(config)
    if config.verbose:
        from active_indexing.cli.console import summary_text

        print(summary_text(summary.content, config.output_dir))
    if summary.report is not None and config.verbose:
        print(f"{summary.report} shows it")
    if summary.content["quality"]["released"]:
        return 0
    manifest = config.output_dir / "manifest.csv"
    print(f"error: none of the images could be released; {manifest} says why.", file=sys.stderr)
    return 1


def _look(arguments: argparse.Namespace) -> int:
    """``--dry_run``: 0 when there is an image that can be released, else 1."""
    if arguments.data_dir is None:
        raise ValueError("--dry_run looks at your images: give their folder with --data_dir.")
    from active_indexing.cli.console import forecast_text
    from active_indexing.dry_run import dry_run

    config = config_of(arguments)
    forecast = dry_run(config)
    print(forecast_text(forecast, config.output_dir))
    return 0 if forecast.images else 1
