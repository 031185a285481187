"""Activate a folder of images before publishing, or write the passive baseline.

    python main.py --active True      move every image towards its place in the index, attack it, search it
    python main.py --active False     the same with the images as they are

Without data flags it runs on twenty demo photos, the default descriptor and the default index.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import active_indexing
from active_indexing.activation.config import LOSSES, STRENGTHS
from active_indexing.config import EXISTING_MODES, STAGES, RunConfig, configure
from active_indexing.index.config import METRICS
from active_indexing.release.config import SAVE_FORMATS

OUTPUT = Path("output")
CHOICES = {
    "quant": METRICS,
    "loss_f": LOSSES,
    "existing": EXISTING_MODES,
    "strength": tuple(STRENGTHS),
    "save_format": SAVE_FORMATS,
}
HELP = {
    "active": "move the images (True) or release them as they are (False)",
    "data_dir": "folder of images to protect, searched recursively, or one image (default: demo photos)",
    "output_dir": "where everything is written (default: output/active or output/passive, by --active)",
    "seed": "seeds everything random",
    "batch_size": "images per batch, counted by --debug; images are optimised one by one",
    "save_imgs": "keep the released images after the evaluation",
    "save_format": "format of the released images; same: the one that each input's name stands for",
    "save_quality": "of JPEG and WebP, 1 to 100 (default: the source's tables for JPEG of a JPEG, else 90)",
    "workers": "images in work at the same time (default: one per core; 0: no worker processes)",
    "device": "torch device (default: a GPU when there is one)",
    "existing": "an output folder that holds a run: resume it, or overwrite it",
    "verbose": "0: errors only; 1: progress and summary",
    "log_freq": "write the losses of every n-th step to activation_log.jsonl; 0: never",
    "debug": "stop after six batches",
    "model_name": "torchscript, a published descriptor such as sscd_disc_mixup (downloaded once), or a "
    "torchvision or timm architecture (default: the default descriptor, "
    "or torchscript with --model_path)",
    "model_path": "weights or TorchScript file",
    "resize_size": "input size of the descriptor in pixels (default: its own)",
    "fts_training_path": "descriptors to train the index from, .pth, .pt or .npy (default: embedded index)",
    "fts_reference_path": "descriptors to fill the index with (default: those of the embedded index)",
    "idx_dir": "folder of trained indexes",
    "idx_factory": "FAISS factory string",
    "quant": "metric of the index: squared L2 distance, or inner product (IP)",
    "nprobe": "cells of the index visited per query",
    "entries": "codes that the index holds per protected image, 1 to 16: more find more edited copies",
    "method": "activation method",
    "psnr": "decibels that a released file keeps of its input (default: by --strength)",
    "strength": "gentle (46 dB), standard (42 dB) or strong (38 dB) "
    "(default: standard; published: by --scaling)",
    "iterations": "optimisation steps (default: 12; published: 10)",
    "views": "random edits that each step looks at, besides the image (robust)",
    "entry_views": "random edits whose descriptors make what the index remembers (robust)",
    "optimizer": "Name,key=value,... of torch or timm",
    "scheduler": "learning-rate schedule, Name,key=value,... of torch or timm, or none",
    "target": "where images should land: pq_recons, ori_ft, ivf_cluster, ivf_cluster_half",
    "loss_f": "loss between descriptor and target: minus cosine, or squared distance",
    "lambda_f": "weight of the descriptor loss",
    "lambda_i": "weight of the image loss",
    "use_attenuation": "follow the just-noticeable-difference mask; False: one bound for all pixels",
    "scaling": "multiplies the bound of the perturbation",
    "scale_channels": "smaller bounds for the channels the eye sees best",
    "use_tanh": "bound the perturbation with tanh",
    "eval_retrieval": "attack and search the released images: retr_df.csv",
    "eval_icd": "copy detection with random chains: icd_df.csv",
    "query_nonmatch_dir": "images that are in no index, for copy detection (default: the demo's)",
    "use_attacks_2": "the grid of 104 attacks instead of the 15",
    "screenshot_template": "web, mobile, or an image file",
    "kneighbors": "results per query",
    "batch_size_eval": "images per block of rows in the CSVs",
}
OPTIONAL_TYPES = {
    "iterations": int,
    "psnr": float,
    "strength": str,
    "resize_size": int,
    "workers": int,
    "save_quality": int,
    "model_name": str,
    "device": str,
}


def boolean(text: str) -> bool:
    """yes, true, t, y, 1 or no, false, f, n, 0, in any case; anything else is an error."""
    lowered = text.lower()
    if lowered in ("yes", "true", "t", "y", "1"):
        return True
    if lowered in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")


def parser() -> argparse.ArgumentParser:
    """One flag per field of the settings, with the field's default."""
    built = argparse.ArgumentParser(
        prog="main.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run = built.add_argument_group("run")
    for field in fields(RunConfig):
        if field.name not in STAGES:
            _add_flag(run, field.name, None if field.name in ("data_dir", "output_dir") else field.default)
    for title, group in STAGES.items():
        section = built.add_argument_group(title)
        for field in fields(group):
            _add_flag(section, field.name, field.default)
    return built


def _add_flag(group: Any, name: str, default: Any) -> None:
    kind: Any = OPTIONAL_TYPES.get(name, Path)
    if default is not None:
        kind = boolean if isinstance(default, bool) else type(default)
        kind = Path if isinstance(default, Path) else kind
    text = HELP[name] if "(default" in HELP[name] else f"{HELP[name]} (default: %(default)s)"
    group.add_argument(f"--{name}", type=kind, default=default, choices=CHOICES.get(name), help=text)


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """The settings that the flags stand for; without --data_dir the demo set is written and used.

    Raises:
        ValueError: a setting out of its range.
    """
    settings = vars(arguments)
    arm = "active" if settings["active"] else "passive"
    settings["output_dir"] = settings["output_dir"] or OUTPUT / arm
    if settings["data_dir"] is None:
        from active_indexing.cli.demo import write_demo

        settings["data_dir"], non_matching = write_demo(OUTPUT / "demo")
        settings["query_nonmatch_dir"] = settings["query_nonmatch_dir"] or non_matching
    return configure(**settings)


def main(argv: list[str] | None = None) -> int:
    """Run from the command line.

    Returns:
        0 when at least one image was released, 1 when nothing could be done, 2 for wrong flags or files,
        130 when interrupted; running the same command again goes on.
    """
    arguments = parser().parse_args(argv)
    try:
        config = config_of(arguments)
        summary = active_indexing.run(config)
        return _told(config, summary.content)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on.", file=sys.stderr)
        return 130


def _told(config: RunConfig, content: dict[str, Any]) -> int:
    from active_indexing.cli.console import summary_text
    from active_indexing.reporting.page import write_report

    if config.verbose:
        print(summary_text(content, config.output_dir))
    try:
        page = write_report([config.output_dir])
    except (ValueError, OSError) as error:  # the run is finished and stays so
        print(f"warning: no report.html: {error}", file=sys.stderr)
    else:
        if config.verbose:
            print(f"{page} shows it")
    if content["quality"]["released"]:
        return 0
    manifest = config.output_dir / "manifest.csv"
    print(f"error: none of the images could be released; {manifest} says why.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
