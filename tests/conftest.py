"""A toy world: everything a run needs, small enough to be made in a second."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # programs that tests start see this tree
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and faiss start their threads

import warnings
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

TOY_DIM = 64
TOY_SIZE = 32


@dataclass(frozen=True)
class Toy:
    """Files of the toy world; copy what a test changes.

    Attributes:
        model: TorchScript file, 32x32 to 64 values; its preprocessing must be asked for (``resize_size`` 32).
        size: input size of the model in pixels.
        dim: length of its descriptors.
        training: (300, 64) float32 .npy, unit norm.
        references: (500, 64) float32 .npy, unit norm, with ``filenames.txt`` beside it.
        images: folder of 48 structured images, 32 to 64 pixels a side, 36 .png and 12 .jpg in a sub-folder.
    """

    model: Path
    size: int
    dim: int
    training: Path
    references: Path
    images: Path


class ToyNetwork(nn.Module):
    """(B, 3, 32, 32) to (B, 64): fixed random filters. Odd, so that descriptors point every way."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 12, 5, stride=2, padding=2, bias=False)
        self.second = nn.Conv2d(12, 24, 5, stride=2, padding=2, bias=False)
        self.last = nn.Linear(24 * 4 * 4, TOY_DIM, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.second(torch.tanh(self.first(inputs))))
        return self.last(nn.functional.avg_pool2d(hidden, 2).flatten(1))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let pytest-xdist send what a test printed about a file whose name is no UTF-8; it would end the run."""
    return _without_surrogates((yield))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_surrogates(inner) for inner in value)
    return value


@pytest.fixture(autouse=True, scope="session")
def _single_threads() -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    root = tmp_path_factory.mktemp("toy")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ToyNetwork().eval()
    rng = np.random.default_rng(0)
    return Toy(
        model=_scripted(network, root / "toy.torchscript.pt"),
        size=TOY_SIZE,
        dim=TOY_DIM,
        training=_described(network, rng, 300, root / "training" / "fts.npy"),
        references=_described(network, rng, 500, root / "references" / "fts.npy"),
        images=_images(rng, root / "images"),
    )


def pattern(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: smooth coloured waves with one sharp rectangle."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    pixels = np.empty((height, width, 3))
    for channel in range(3):
        waves = [
            rng.uniform(0.3, 1) * np.sin(2 * np.pi * (a * rows + b * columns + c))
            for a, b, c in rng.uniform(-3, 3, (4, 3))
        ]
        pixels[..., channel] = 128 + 45 * np.sum(waves, axis=0)
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    pixels[top : top + height // 3, left : left + width // 3] += rng.uniform(-80, 80, 3)
    return pixels.clip(0, 255).astype(np.uint8)


def _scripted(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        # Writing TorchScript is deprecated; the published descriptors are such files.
        for category in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        torch.jit.script(network).save(str(path))
    return path


@torch.no_grad()
def _described(network: nn.Module, rng: np.random.Generator, count: int, path: Path) -> Path:
    """Descriptors of patterns the images are made of too, so that the index fits them."""
    patterns = np.stack([pattern(rng, TOY_SIZE, TOY_SIZE) for _ in range(count)])
    pixels = torch.from_numpy(patterns).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    descriptors = nn.functional.normalize(network((pixels - mean) / std), dim=1).numpy()
    path.parent.mkdir()
    np.save(path, descriptors)
    names = "".join(f"reference_{row:04d}.jpg\n" for row in range(count))
    (path.parent / "filenames.txt").write_text(names)
    return path


def _images(rng: np.random.Generator, folder: Path) -> Path:
    (folder / "more").mkdir(parents=True)
    for number in range(48):
        height, width = rng.integers(32, 65, 2)
        image = Image.fromarray(pattern(rng, int(height), int(width)))
        if number % 4 == 3:
            image.save(folder / "more" / f"{number:02d}.jpg", quality=92)
        else:
            image.save(folder / f"{number:02d}.png")
    return folder
