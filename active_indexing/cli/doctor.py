"""Is everything there that a release needs, and what else is there?

    active-indexing doctor

One line for each thing that was looked at. Leaves with 1 when something that every release needs is missing.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from importlib.util import find_spec

from active_indexing.cli.flags import Parser

OPTIONAL = {
    "augly": "attacks",
    "timm": "models",
    "kornia": "training",
    "h5py": "training",
    "matplotlib": "report",
    "pandas": "report",
    "skimage": "demo",
    "fastapi": "service",
    "c2pa": "c2pa",
}
"""Library to the extra that brings it."""


def add_parser(parser: Parser) -> None:
    """It has no flags."""


def run(arguments: argparse.Namespace) -> int:
    """Look, and print what was found.

    Returns:
        0 when a release can run, 1 when something that it needs is missing.
    """
    well = True
    for name, look in NEEDED.items():
        try:
            state, told = "ok", look()
        except (ImportError, OSError, ValueError, RuntimeError) as error:
            state, told, well = "missing", " ".join(str(error).split()), False
        print(f"{state:<9}{name:<12}{told}")
    for name, told in _others():
        print(f"{'-':<9}{name:<12}{told}")
    print("a release can run." if well else "a release cannot run: see the lines that say missing.")
    return 0 if well else 1


def _torch() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"{torch.__version__}, no GPU in use: everything runs on the CPU"
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return f"{torch.__version__}, CUDA {torch.version.cuda}: {', '.join(names)}"


def _index() -> str:
    import torch

    from active_indexing.artefacts.versions import versions
    from active_indexing.descriptors.config import DescriptorConfig
    from active_indexing.descriptors.loading import load_descriptor
    from active_indexing.index.config import IndexConfig
    from active_indexing.index.preparation import prepare_index

    descriptor = load_descriptor(DescriptorConfig(), torch.device("cpu"))
    index = prepare_index(IndexConfig(), descriptor.dim, descriptor.fingerprint).index
    return f"FAISS {versions()['faiss']}; {descriptor.name}, {index.factory} with {index.ntotal:,} references"


def _pillow() -> str:
    from active_indexing.artefacts.versions import versions

    return f"Pillow {versions()['pillow']}"


NEEDED: dict[str, Callable[[], str]] = {"torch": _torch, "pictures": _pillow, "assets": _index}
"""What every release needs, and how to look for it."""


def _others() -> Iterator[tuple[str, str]]:
    for library, extra in OPTIONAL.items():
        there = find_spec(library) is not None
        yield library, "there" if there else f"not there: pip install 'active-indexing[{extra}]' brings it"
    yield "libmagic", find_library("magic") or "not there; AugLy does without it here"
    heif = find_spec("pillow_heif") is not None
    yield "HEIC", "there" if heif else "HEIC photos are skipped; pip install pillow-heif to read them"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield "machine", f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB memory, {platform.platform()}"
