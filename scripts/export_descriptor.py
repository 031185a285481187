"""Write a descriptor as one TorchScript or ONNX file and check that it gives the same descriptors.

python scripts/export_descriptor.py --format torchscript --output default.torchscript.pt
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from active_indexing.cli.interrupts import run_program
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.export import export_onnx, export_torchscript
from active_indexing.descriptors.loading import load_descriptor

FORMATS = {"torchscript": export_torchscript, "onnx": export_onnx}


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; 2 when the descriptor can't be loaded or exported."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--format", choices=FORMATS, default="torchscript", help="default: %(default)s")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--model_path", type=Path, help="weights (default: the default descriptor)")
    parser.add_argument("--model_name", help="as in main.py")
    parser.add_argument("--resize_size", type=int, help="as in main.py")
    given = parser.parse_args(argv)
    try:
        config = DescriptorConfig(
            model_name=given.model_name, model_path=given.model_path, resize_size=given.resize_size
        )
        descriptor = load_descriptor(config, torch.device("cpu"))
        difference = FORMATS[given.format](descriptor, given.output)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.output} gives the descriptors of {descriptor.name}, largest difference {difference:.1e}")
    return 0


if __name__ == "__main__":
    run_program(main)
