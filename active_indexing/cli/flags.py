"""Flags that several commands share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.extraction.folders import FolderExtractor


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of an evaluation program that say which descriptor describes its images."""
    parser.add_argument(
        "--model_name",
        help="torchscript, a published descriptor, or an architecture (default: our descriptor)",
    )
    parser.add_argument("--model_path", type=Path, help="weights or TorchScript file")
    parser.add_argument("--resize_size", type=int, help="network input in pixels (default: the model's own)")
    parser.add_argument(
        "--batch_size", type=int, default=FolderExtractor.batch_size, help="default: %(default)s"
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--workers", type=int, default=cores, help="processes that decode (default: one per core)"
    )


def describer(arguments: argparse.Namespace, folder: Path, device: torch.device) -> FolderExtractor:
    """The describer that the flags of :func:`add_flags` ask for.

    Raises:
        ValueError: a flag out of its range.
    """
    config = DescriptorConfig(
        model_name=arguments.model_name, model_path=arguments.model_path, resize_size=arguments.resize_size
    )
    return FolderExtractor(folder, config, device, arguments.batch_size, arguments.workers)
