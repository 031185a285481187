"""Train a descriptor, or go on with a training that was stopped.

    python scripts/train_descriptor.py --recipe default_first_edition --output_dir OUT --processes 2 \
        --threads 1 --source TINY:64:62 --source PHOTOS:160:2:200
    python scripts/train_descriptor.py --recipe default --output_dir OUT --processes 2 --threads 1 \
        --source TINY:64:17 --source MIXED:192:13 --source PHOTOS:256:2:200 \
        --teacher sscd.onnx --start FIRST.pt
    python scripts/train_descriptor.py --recipe kd_icd --teacher_name sscd_disc_mixup --teacher sscd.pt \
        --backbone resnet18 --output_dir OUT --source IMAGES:256:128
    python scripts/train_descriptor.py --recipe rdcd --teacher sscd.onnx --dim 64 --output_dir OUT \
        --source IMAGES:256:256
    python scripts/train_descriptor.py --recipe default --copynce 5 --copynce_layer layer3 --output_dir OUT \
        --source IMAGES:160:62

A source is FOLDER_OR_TAR:EDGE:IMAGES[:LIMIT]: images are kept EDGE pixels wide and high, every process takes
IMAGES of them per step, and only the first LIMIT are used. Running the same command again resumes from the
checkpoint in the output folder.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from active_indexing.cli.flags import boolean
from active_indexing.cli.interrupts import run_program
from active_indexing.cli.published_flags import (
    BACKBONE_WORDS,
    TRAIN_DESCRIPTOR,
    accept_words,
    answer_published,
)
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.training.config import TrainingConfig, TrainingImages
from active_indexing.training.recipes.changes import FLAGS, with_patches, with_terms
from active_indexing.training.recipes.registry import (
    BASE_LEARNING_RATES,
    RECIPES,
    recipe,
    scaled_learning_rate,
)
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
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--recipe",
        default="default",
        help=f"{', '.join(RECIPES)}, or module:name of your own (default: %(default)s)",
    )
    parser.add_argument("--source", action="append", required=True, help="training images; may be repeated")
    parser.add_argument("--support", help="images that match nothing, in the same form (vit4icd_stage2a on)")
    parser.add_argument(
        "--pairs", help="images that match, named <pair>_<anything>, in the same form (vit4icd_stage3)"
    )
    parser.add_argument("--validation", help="held-out images, in the same form (IMAGES is not used)")
    parser.add_argument(
        "--output_dir", "--output_path", type=Path, required=True, help="checkpoint, log, descriptor"
    )
    parser.add_argument("--teacher", type=Path, help="weights of the teacher; *.onnx is run by onnxruntime")
    parser.add_argument("--teacher_name", help="what the weights are, as --model_name of main.py")
    parser.add_argument("--teacher_size", type=int, help="its input size in pixels (default: its own)")
    parser.add_argument(
        "--start",
        type=Path,
        help="weights to begin with: a descriptor file, a checkpoint.pt, a trunk of torchvision or timm",
    )
    parser.add_argument(
        "--fit_head",
        action=argparse.BooleanOptionalAction,
        default=TrainingRun.fit_head,
        help="fit the last layer of --start to the teacher (recipe default only)",
    )
    parser.add_argument("--backbone", help="of the student: ours or any of timm (default: the recipe's)")
    parser.add_argument("--dim", "--dims", type=int, help="length of the descriptor (default: the recipe's)")
    parser.add_argument("--pool_param", type=float, help="exponent of the pooling (default: the recipe's)")
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument(
        "--learning_rate",
        "--absolute_learning_rate",
        type=float,
        help="its largest (default: the recipe's; of sscd_* and rdcd scaled with the batch)",
    )
    rates.add_argument(
        "--base_learning_rate",
        type=float,
        help="for 256 images, scaled with the batch (sscd_*: 0.3; rdcd: 1)",
    )
    parser.add_argument("--weight_decay", type=float, help="default: the recipe's")
    _add_terms(parser)
    parser.add_argument(
        "--copynce",
        type=float,
        metavar="WEIGHT",
        help="add the contrast of patches with this weight to any recipe of whole views (published: 5)",
    )
    parser.add_argument(
        "--copynce_layer",
        metavar="MODULE",
        help="module of the network that gives the patches, such as layer3 (default: what the pooling takes)",
    )
    parser.add_argument("--steps", type=int, help="length of the training (default: the recipe's)")
    parser.add_argument("--decay_start", type=int, help="step at which the learning rate starts to fall")
    parser.add_argument(
        "--sync_bn",
        type=boolean,
        nargs="?",
        const=True,
        metavar="BOOL",
        help="normalise the batches of all processes as one (default: the recipe's)",
    )
    parser.add_argument(
        "--no-sync_bn", dest="sync_bn", action="store_false", default=None, help=argparse.SUPPRESS
    )
    parser.add_argument("--seed", type=int, default=TrainingConfig.seed, help="default: %(default)s")
    numbers = ("nodes", "processes", "threads", "validation_steps")
    for name, kind in (*((number, int) for number in numbers), ("device", str)):
        default = getattr(TrainingRun, name)
        parser.add_argument(f"--{name}", type=kind, default=default, help="default: %(default)s")
    accept_words(parser, "backbone", BACKBONE_WORDS)
    answer_published(parser, TRAIN_DESCRIPTOR)
    return parser


def _add_terms(parser: argparse.ArgumentParser) -> None:
    """Weights and temperatures of the terms of recipes that have them."""
    for flag, kind, text in (
        ("entropy_weight", float, "of the entropy term; 0 leaves it out"),
        ("infonce_temperature", float, "of the contrast of sscd_*, kd_icd and default*"),
        ("kd_lambda", float, "weight of kd_icd's distillation, published 0.1"),
        ("teacher_dim", int, "length of the teacher's features, of rdcd"),
        ("moco_lambda", float, "weight of rdcd's contrast"),
        ("kld_lambda", float, "weight of rdcd's distillation"),
        ("hn_lambda", float, "weight of rdcd's hard negatives within its contrast"),
        ("temp", float, "temperature of rdcd's contrast"),
        ("m", float, "momentum of rdcd's slow network"),
        ("queue_size", int, "rows of the queues of kd_icd and rdcd"),
        ("classes", int, "identities of vit4icd_*, at least those of the images"),
    ):
        parser.add_argument(f"--{flag}", type=kind, help=f"{text} (default: the recipe's)")


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
    sources = tuple(map(parse_source, arguments.source))
    batch = arguments.nodes * arguments.processes * sum(source.images for source in sources)
    changes = {
        "sync_bn": arguments.sync_bn,
        "backbone": arguments.backbone,
        "dim": arguments.dim,
        "gem_p": arguments.pool_param,
        "learning_rate": _learning_rate(arguments, batch),
        "weight_decay": arguments.weight_decay,
    }
    config = replace(config, **{name: value for name, value in changes.items() if value is not None})
    terms = {flag: getattr(arguments, flag) for flag in FLAGS}
    objective = with_terms(config.objective, terms, arguments.recipe)
    objective = with_patches(objective, arguments.copynce, arguments.copynce_layer)
    config = replace(config, objective=objective)
    return replace(config, schedule=schedule, seed=arguments.seed), TrainingRun(
        output_dir=arguments.output_dir,
        sources=sources,
        teacher=_teacher(arguments),
        start=arguments.start,
        fit_head=arguments.fit_head,
        support=parse_source(arguments.support) if arguments.support else None,
        pairs=parse_source(arguments.pairs) if arguments.pairs else None,
        validation=parse_source(arguments.validation) if arguments.validation else None,
        nodes=arguments.nodes,
        processes=arguments.processes,
        threads=arguments.threads,
        device=arguments.device,
        validation_steps=arguments.validation_steps,
    )


def _learning_rate(arguments: argparse.Namespace, batch: int) -> float | None:
    """What the flags say, or what the recipe says for this batch; ``None``: the recipe's own."""
    if arguments.learning_rate is not None:
        return float(arguments.learning_rate)
    base = arguments.base_learning_rate
    if base is None:
        base = BASE_LEARNING_RATES.get(arguments.recipe)
    return None if base is None else scaled_learning_rate(base, batch)


def _teacher(arguments: argparse.Namespace) -> DescriptorConfig | None:
    """The descriptor that the flags name, if they name one."""
    if arguments.teacher is None and arguments.teacher_name is None:
        return None
    return DescriptorConfig(
        model_name=arguments.teacher_name, model_path=arguments.teacher, resize_size=arguments.teacher_size
    )


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 done, 2 the arguments or files do not fit."""
    arguments = build_parser().parse_args(argv)
    try:
        print(run(*settings(arguments)))
    except (ValueError, OSError, ImportError) as error:
        print(f"train_descriptor: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    run_program(main)
