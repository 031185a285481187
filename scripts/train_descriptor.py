"""Train a descriptor, or go on with a training that was stopped.

    python scripts/train_descriptor.py --recipe default --output_dir OUT --processes 2 --threads 1 \
        --source TINY:64:62 --source PHOTOS:160:2:200

A source is FOLDER_OR_TAR:EDGE:IMAGES[:LIMIT]: images are kept EDGE pixels wide and high, every process takes
IMAGES of them per step, and only the first LIMIT are used. Running the same command again resumes from the
checkpoint in the output folder.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from active_indexing.training.config import TrainingConfig, TrainingImages
from active_indexing.training.recipes.contrastive import RECIPES, recipe
from active_indexing.training.run import TrainingRun, run


def parse_source(text: str) -> TrainingImages:
    """FOLDER_OR_TAR:EDGE:IMAGES[:LIMIT] to a source.

    Raises:
        ValueError: if it has another form.
    """
    head, *numbers = text.split(":")
    if not head or len(numbers) not in (2, 3) or not all(n.isdigit() and int(n) > 0 for n in numbers):
        raise ValueError(f"the source {text!r} is not FOLDER_OR_TAR:EDGE:IMAGES or ...:LIMIT.")
    edge, images, *limit = map(int, numbers)
    return TrainingImages(Path(head), edge, images, limit[0] if limit else None)


def build_parser() -> argparse.ArgumentParser:
    """Flags; their defaults are those of the settings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="default", help=f"{', '.join(RECIPES)} (default: %(default)s)")
    parser.add_argument("--source", action="append", required=True, help="training images; may be repeated")
    parser.add_argument("--validation", help="held-out images, in the same form (IMAGES is not used)")
    parser.add_argument("--output_dir", type=Path, required=True, help="checkpoint, log, descriptor")
    parser.add_argument("--steps", type=int, help="length of the training (default: the recipe's)")
    parser.add_argument("--decay_start", type=int, help="step at which the learning rate starts to fall")
    parser.add_argument(
        "--sync_bn",
        action=argparse.BooleanOptionalAction,
        help="normalise the batches of all processes as one (default: the recipe's)",
    )
    parser.add_argument("--seed", type=int, default=TrainingConfig.seed, help="default: %(default)s")
    for name, kind in (("processes", int), ("threads", int), ("device", str), ("validation_steps", int)):
        default = getattr(TrainingRun, name)
        parser.add_argument(f"--{name}", type=kind, default=default, help="default: %(default)s")
    return parser


def settings(arguments: argparse.Namespace) -> tuple[TrainingConfig, TrainingRun]:
    """What the flags ask for.

    Raises:
        ValueError: if a flag has no meaning.
    """
    config = recipe(arguments.recipe)
    schedule = config.schedule
    if arguments.steps is not None:
        decay = min(schedule.decay_start, arguments.steps)
        warmup = min(schedule.warmup_steps, arguments.steps)
        schedule = replace(schedule, steps=arguments.steps, decay_start=decay, warmup_steps=warmup)
    if arguments.decay_start is not None:
        schedule = replace(schedule, decay_start=arguments.decay_start)
    if arguments.sync_bn is not None:
        config = replace(config, sync_bn=arguments.sync_bn)
    return replace(config, schedule=schedule, seed=arguments.seed), TrainingRun(
        output_dir=arguments.output_dir,
        sources=tuple(map(parse_source, arguments.source)),
        validation=parse_source(arguments.validation) if arguments.validation else None,
        processes=arguments.processes,
        threads=arguments.threads,
        device=arguments.device,
        validation_steps=arguments.validation_steps,
    )


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 done, 2 the arguments or files do not fit."""
    arguments = build_parser().parse_args(argv)
    try:
        print(run(*settings(arguments)))
    except (ValueError, OSError) as error:
        print(f"train_descriptor: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
