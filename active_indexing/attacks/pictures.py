"""Small pictures of attacked copies, for people: the very copies of an evaluation, made once more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from active_indexing.attacks.failure import AttackFailed
from active_indexing.attacks.jobs import WORKER_MODULES, planned
from active_indexing.attacks.registry import Attack
from active_indexing.images.decoding import UnreadableImage, read
from active_indexing.images.thumbnails import small_jpeg
from active_indexing.parallel.processes import ProcessPool


@dataclass(frozen=True, kw_only=True)
class PictureJob:
    """A picture that is wanted.

    Attributes:
        path: an image file.
        edge: most pixels of the longer side.
        attack: what is done to it first; ``None``: nothing.
        image_id: id of the image; with the seed and the attack it keys the random stream.
        seed: the user's ``--seed``.
    """

    path: Path
    edge: int
    attack: Attack | None = None
    image_id: int = 0
    seed: int = 0

    def __str__(self) -> str:
        return f"making a small picture of {self.path}"


def picture(job: PictureJob) -> bytes:
    """The picture as a JPEG; empty when the file is gone or unreadable, or the attack failed."""
    try:
        image = Image.fromarray(read(job.path).srgb)
        if job.attack is not None:
            image = planned(job.attack, job.image_id, job.seed).apply(image)
        return small_jpeg(image, job.edge)
    except (UnreadableImage, AttackFailed):
        return b""


def picture_pool(workers: int) -> ProcessPool[PictureJob, bytes]:
    """Processes that make pictures; 0 workers do it in this process."""
    return ProcessPool(picture, workers, preload=WORKER_MODULES)
