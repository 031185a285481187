"""Descriptors of image folders for the evaluation programs: extracted once, and found again the next time."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from active_indexing.artefacts.identity import fingerprint
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.extraction.extract import extract
from active_indexing.images.listing import open_source


@dataclass
class FolderExtractor:
    """Callable that describes a folder or an archive of images; the descriptor is loaded when needed.

    Attributes:
        folder: where descriptors go, each set into a sub-folder of its own.
        config: which descriptor.
        device: where it runs.
        batch_size: images per pass of the network.
        workers: processes that decode.
    """

    folder: Path
    config: DescriptorConfig
    device: torch.device
    batch_size: int = 256
    workers: int = 0
    _descriptor: Descriptor | None = field(default=None, init=False, repr=False)

    def __call__(self, images: Path) -> Path:
        """Describe all images and return the file of descriptors; images that can't be read are told."""
        if self._descriptor is None:
            self._descriptor = load_descriptor(self.config, self.device)
        made_from = [os.path.abspath(images), self._descriptor.fingerprint]
        done = extract(
            open_source(images),
            self._descriptor,
            self.folder / f"{Path(images).name}-{fingerprint(made_from)[:12]}",
            batch_size=self.batch_size,
            workers=self.workers,
            file_format="npy",
            progress=sys.stderr.isatty(),
        )
        if done.skipped:
            listing = done.path.parent / "skipped.csv"
            print(f"note: {done.skipped:,} images of {images} skipped, see {listing}", file=sys.stderr)
        return done.path
