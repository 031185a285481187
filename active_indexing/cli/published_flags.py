"""Flags of published programs that have another name here, or no meaning.

They are hidden from ``--help`` and answered with what to give instead: whoever pastes a published command
reads one sentence instead of "unrecognized arguments". docs/published_systems.md has them all in tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

GPU = "leave it out, a GPU is used where there is one"
ALONE = "leave it out, one machine does the work"
ALWAYS = "leave it out, it is always so"

# SSCD's disc_eval.py and copydays_eval.py, which kd_icd and RDCD took over.
_SSCD_EVALUATION = {
    "checkpoint": "give the file to --model_path, and its trunk, such as resnet50, to --model_name",
    "model_state": "give the file to --model_path, and its name (sscd_disc_mixup) or its trunk (resnet50) to "
    "--model_name",
    "student": "give the file to --model_path; scripts/train_descriptor.py writes one that needs no name",
    "backbone": "give --model_name",
    "dims": "leave it out, the weights say it",
    "pool_param": "leave it out, SSCD's pooling has exponent 3",
    "size": "give --resize_size",
    "preserve_aspect_ratio": "give --resize short_edge for true and --resize square for false",
    "gpus": GPU,
    "accelerator": GPU,
    "nodes": ALONE,
}

EVALUATE_DISC: Mapping[str, str] = {
    **_SSCD_EVALUATION,
    "features": "give files of scripts/extract_fts.py to --query_descs, --db_descs and --train_descs",
    "ndec_path": "give its parts to --query_descs, --db_descs, --train_descs and --gt_filepath",
    # isc2021's compute_metrics.py
    "track2": "leave it out, --query_descs and --db_descs say it",
    "max_dim": "leave it out, descriptors of any length are measured",
    "max_results": "give --global_candidates with --k, which keeps k pairs per query of all queries together",
    "knn": "give --k",
    "write_predictions": "leave it out, predictions_*.csv in --output_dir are always written",
    # isc2021's score_normalization.py, and ViT4ICD's
    "n": "give --score_norm FACTOR*minN or FACTOR*meanN, such as 2*min10",
    "factor": "give --score_norm FACTOR*minN or FACTOR*meanN, such as 2*min10",
    "reduction": "give --score_norm FACTOR*minN for min and FACTOR*meanN for avg",
    "read_norms": "leave it out, norms are computed each time",
    "norms": "leave it out, norms are computed each time",
    "o": "give --output_dir, where predictions_*.csv are written",
}
"""Of ``evaluate_disc.py``."""

EVALUATE_COPYDAYS: Mapping[str, str] = {
    **_SSCD_EVALUATION,
    "features": "give files of scripts/extract_fts.py to --distractor_path and --codec_train_path",
    "resize_long_edge": "give --resize long_edge",
}
"""Of ``evaluate_copydays.py``."""

EXTRACT_FTS: Mapping[str, str] = {
    # ViT4ICD's extract_feature.py
    "image_dir": "give --data_dir",
    "o": "give --output_dir and --format hdf5, which writes fts.hdf5 there",
    "model": "give --model_name vit4icd",
    "checkpoint": "give --model_path",
    "imsize": "give --resize_size",
    "bw": "leave it out, --model_name vit4icd sees grey images",
    "blur": "leave it out, the published program has it, but can't do it",
    "num_workers": "give --workers",
    "pca_file": "fit scripts/fit_postprocessing.py, whose result is applied wherever the weights are used",
    "train_pca": "use scripts/fit_postprocessing.py",
    "pca_dim": "use scripts/fit_postprocessing.py --dim",
    "n_train_pca": "use scripts/fit_postprocessing.py, which takes all descriptors of its file",
    "GeM_p": "leave it out, it has no effect in the published program either",
    "scales": "leave it out, it has no effect in the published program either",
    "device": GPU,
}
"""Of ``extract_fts.py``."""

_NO_EFFECT = "leave it out, it has no effect on the published training"

TRAIN_DESCRIPTOR: Mapping[str, str] = {
    # SSCD's train.py
    "train_dataset_path": "give --source FOLDER:EDGE:IMAGES",
    "val_dataset_path": "give --validation FOLDER:EDGE:IMAGES",
    "batch_size": "IMAGES of every --source, times --processes, are the batch",
    "epochs": "give --steps, which are epochs x images / batch",
    "warmup_epochs": "leave it out, it is part of the recipe",
    "momentum": "leave it out, it is 0.9 as published",
    "augmentations": "give --recipe sscd_simclr, sscd_blur or sscd_advanced",
    "mixup": "give --recipe sscd_mixup for true",
    "train_image_size": "leave it out, the views of the published recipes are 224 pixels wide",
    "val_image_size": "leave it out, the descriptors of the published recipes see 288 pixels",
    "gpus": "give --device cuda and --processes, one per GPU",
    "accelerator": "give --device cuda or cpu",
    "workers": "leave it out, images are decoded once, before the training",
    "num_sanity_val_steps": "leave it out, --validation_steps says how often held-out images are described",
    # kd_icd
    "ckpt": "give --teacher, and --teacher_name sscd_disc_mixup",
    "kd": "give --recipe kd_icd for true and --recipe sscd_mixup for false",
    "resume": "leave it out, the same command goes on where it stopped",
    "student": "leave it out, it has no effect in the published program either",
    "query_dataset_path": "leave it out, --source names all training images",
    "ref_dataset_path": "leave it out, --source names all training images",
    # RDCD
    "kd_dim": "give --teacher_dim",
    "moco": ALWAYS,
    "kld": ALWAYS,
    # ViT4ICD
    "dataset-source": "give --source FOLDER:EDGE:IMAGES",
    "data-dir": "give --source FOLDER:EDGE:IMAGES",
    "logs-dir": "give --output_dir",
    "batch-size": "IMAGES of --source, times --processes, are the batch",
    "arch": "give --recipe vit4icd_stage1 for 50 and another stage for vit_base, or --backbone",
    "lr": "give --learning_rate",
    "iters": "give --steps, which are epochs x iterations",
    "num-instances": "leave it out, the recipes vit4icd_* take 4 images of every identity",
    "height": "leave it out, views of vit4icd_stage1 have 256 pixels, those of the other stages 224",
    "width": "leave it out, views of vit4icd_stage1 have 256 pixels, those of the other stages 224",
    "auto_resume": "leave it out, the same command goes on where it stopped",
    "eval-step": "give --validation_steps",
    "print-freq": "leave it out, log.jsonl gets a line every 50 steps",
    "features": _NO_EFFECT,
    "dropout": _NO_EFFECT,
    "weight-decay": _NO_EFFECT,
    "warmup-step": _NO_EFFECT,
    "milestones": _NO_EFFECT,
    "margin": _NO_EFFECT,
    "evaluate": "use scripts/evaluate_disc.py",
    "rerank": "leave it out, descriptors are compared as they are",
}
"""Of ``train_descriptor.py``."""

BACKBONE_WORDS: Mapping[str, str] = {
    "CV_RESNET18": "resnet18",
    "CV_RESNET50": "resnet50",
    "CV_RESNEXT101": "resnext101_32x4d",
    "TV_RESNET18": "resnet18",
    "TV_RESNET50": "resnet50",
    "TV_RESNEXT101": "resnext101_32x8d",
    "TV_EFFICIENTNET_B0": "efficientnet_b0",
    "TV_MOBILENETV3": "mobilenet_v3_large",
    "TIMM_MOBILEVIT_S": "mobilevit_s",
    "TV_REGNET_X": "regnetx_008",
    "TV_REGNET_Y": "regnety_008_tv",
}
"""Of ``--backbone`` of a training: SSCD's and kd_icd's names of trunks."""

LOSS_WORDS: Mapping[str, str] = {"mse": "l2"}
"""Of ``--loss_f``: in the published program every word but cossim is the squared distance."""


class _Answer(argparse.Action):
    """Leaves with 2 and the sentence that says what to give instead."""

    def __init__(self, option_strings: Sequence[str], dest: str, answer: str) -> None:
        super().__init__(option_strings, dest, nargs="*", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self.answer = answer

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        parser.error(f"{option_string} is a flag of the published program; here: {self.answer}.")


def answer_published(parser: argparse.ArgumentParser, answers: Mapping[str, str]) -> None:
    """Let a parser answer the flags of published programs.

    Args:
        parser: with its own flags already.
        answers: flag without dashes to what to give instead.
    """
    for name, answer in answers.items():
        parser.add_argument(f"--{name}", action=_Answer, answer=answer)


def accept_words(parser: argparse.ArgumentParser, flag: str, words: Mapping[str, str]) -> None:
    """Let a flag take published words for its own.

    Args:
        parser: with the flag.
        flag: without dashes.
        words: published word to ours.
    """
    [action] = (each for each in parser._actions if each.dest == flag)

    def ours(text: str) -> str:
        return words.get(text, text)

    action.type = ours
