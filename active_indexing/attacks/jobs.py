"""One image, all its attacks: the unit of work of the pool, and what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from active_indexing import seeding
from active_indexing.attacks.failure import AttackFailed
from active_indexing.attacks.registry import Attack, PlannedAttack
from active_indexing.descriptors.network_input import network_input
from active_indexing.images import decoding
from active_indexing.parallel.processes import ProcessPool, preload_workers

WORKER_MODULES = ("torch", "torchvision.transforms.functional", "active_indexing.attacks.jobs")
"""What an attack worker imports."""


@dataclass(frozen=True, kw_only=True)
class AttackJob:
    """An image to attack.

    Attributes:
        image_id: id of the image; with the seed and the attack it keys the random stream.
        path: the released file.
        attacks: what to do to it.
        seed: the user's ``--seed``.
        preprocessing: network input of an attacked copy: (3, H, W) float32 in [0, 1] to (3, h, w) float32.
            It must be picklable, so it cannot be defined in the main script.
        views: (H, W, 3) uint8 sRGB of a copy to (kind, pixels) of the parts that are asked about, picklable
            as well; ``None``: the whole copy alone.
    """

    image_id: int
    path: Path
    attacks: tuple[Attack, ...]
    seed: int
    preprocessing: Callable[[torch.Tensor], torch.Tensor]
    views: Callable[[np.ndarray], list[tuple[str, np.ndarray]]] | None = None

    def __str__(self) -> str:
        return f"attacking {self.path} (image {self.image_id})"


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackResult:
    """The attacked copies of one image, in the order of the job's attacks, and the attacks that failed.

    Attributes:
        image_id: of the job.
        inputs: one network input (3, h, w) float32 per attack that worked, or one per view of it; sizes may
            differ.
        attacks: (name, parameter text) of each of ``inputs``.
        failures: (name, parameter text, reason) of each attack that failed.
        seconds: that it took.
        kinds: of each of ``attacks`` those of its views; empty: one input each.
    """

    image_id: int
    inputs: tuple[np.ndarray, ...]
    attacks: tuple[tuple[str, str], ...]
    failures: tuple[tuple[str, str, str], ...]
    seconds: float = 0.0
    kinds: tuple[tuple[str, ...], ...] = ()


def perform(job: AttackJob) -> AttackResult:
    """Decode the released file once and apply every attack of the job.

    An attack that fails is listed with its reason. A file that cannot be read fails all of them.
    """
    began = time.perf_counter()
    plans = [planned(attack, job.image_id, job.seed) for attack in job.attacks]
    try:
        image = Image.fromarray(decoding.read(job.path).srgb)
    except decoding.UnreadableImage as error:
        return _all_failed(job, plans, str(error))
    inputs: list[np.ndarray] = []
    attacks, failures, kinds = [], [], []
    for plan in plans:
        try:
            attacked = plan.apply(image)
        except AttackFailed as error:
            failures.append((plan.name, plan.param, str(error)))
            continue
        if job.views is None:
            inputs.append(_network_input(job, attacked))
        else:
            looks = job.views(np.asarray(attacked.convert("RGB")))
            inputs += [_network_input(job, Image.fromarray(pixels)) for _, pixels in looks]
            kinds.append(tuple(kind for kind, _ in looks))
        attacks.append((plan.name, plan.param))
    return AttackResult(
        image_id=job.image_id,
        inputs=tuple(inputs),
        attacks=tuple(attacks),
        failures=tuple(failures),
        seconds=time.perf_counter() - began,
        kinds=tuple(kinds),
    )


def planned(attack: Attack, image_id: int, seed: int) -> PlannedAttack:
    """An attack with the choices that it makes for this image, whichever other attacks it undergoes."""
    return attack.plan(seeding.generator_for(seed, image_id, attack.purpose))


def _all_failed(job: AttackJob, plans: list[PlannedAttack], reason: str) -> AttackResult:
    failures = tuple((plan.name, plan.param, reason) for plan in plans)
    return AttackResult(image_id=job.image_id, inputs=(), attacks=(), failures=failures)


def _network_input(job: AttackJob, attacked: Image.Image) -> np.ndarray:
    def rows(top: int, bottom: int) -> np.ndarray:
        return np.asarray(attacked.crop((0, top, attacked.width, bottom)))

    return network_input(rows, attacked.height, attacked.width, job.preprocessing)


def attack_pool(workers: int) -> ProcessPool[AttackJob, AttackResult]:
    """Processes that attack images; 0 workers do it in this process."""
    return ProcessPool(perform, workers, preload=WORKER_MODULES)


def preload_attacks() -> None:
    """Let what attack workers import be loaded in the background."""
    preload_workers(WORKER_MODULES)
