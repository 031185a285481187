from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import DEFAULT_DESCRIPTOR, load_descriptor
from scripts import export_descriptor, fit_postprocessing
from tests.conftest import Toy


@pytest.fixture
def model(toy: Toy, tmp_path: Path) -> Path:
    return Path(shutil.copy(toy.model, tmp_path / "model.torchscript.pt"))


def arguments(toy: Toy, model: Path, *more: str) -> list[str]:
    where = ["--fts_path", str(toy.references), "--model_path", str(model), "--resize_size", str(toy.size)]
    return [*where, *more]


def load(toy: Toy, model: Path):
    return load_descriptor(DescriptorConfig(model_path=model, resize_size=toy.size), torch.device("cpu"))


def test_after_fitting_the_descriptor_is_white_and_another_one(toy: Toy, model: Path) -> None:
    before = load(toy, model)
    assert fit_postprocessing.main(arguments(toy, model, "--dim", "8")) == 0
    after = load(toy, model)
    assert after.dim == 8
    assert after.fingerprint != before.fingerprint
    whitened = after.postprocessing.apply_to(np.load(toy.references))
    assert np.allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-5)
    spread = np.linalg.eigvalsh(np.cov(whitened.T))
    assert spread.max() / spread.min() < 2


def test_a_second_fit_and_a_missing_model_are_refused(
    toy: Toy, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit_postprocessing.main(arguments(toy, model))
    assert fit_postprocessing.main(arguments(toy, model)) == 2
    assert "is there already" in capsys.readouterr().err
    assert fit_postprocessing.main(["--fts_path", str(toy.references)]) == 2
    assert "give --model_path" in capsys.readouterr().err
    shipped = ["--fts_path", str(toy.references), "--model_path", str(DEFAULT_DESCRIPTOR)]
    assert fit_postprocessing.main(shipped) == 2
    assert "give --model_path a file of yours" in capsys.readouterr().err


def test_descriptors_of_another_dimension_are_refused(
    toy: Toy, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "other.npy", np.load(toy.references)[:, :16])
    given = arguments(toy, model)
    given[1] = str(tmp_path / "other.npy")
    assert fit_postprocessing.main(given) == 2
    assert "was not extracted with" in capsys.readouterr().err
    assert list(tmp_path.glob("*.npz")) == []


def test_the_default_descriptor_exported_gives_the_same_descriptors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "default.torchscript.pt"
    assert export_descriptor.main(["--output", str(target)]) == 0
    assert "largest difference" in capsys.readouterr().out
    pixels = torch.rand(1, 3, 90, 120, generator=torch.Generator().manual_seed(0))
    own = load_descriptor(DescriptorConfig(), torch.device("cpu"))
    read = load_descriptor(DescriptorConfig(model_path=target), torch.device("cpu"))
    assert torch.allclose(own(pixels), read(pixels), atol=1e-5)


def test_a_model_that_is_not_there_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--output", str(tmp_path / "x.pt"), "--model_path", str(tmp_path / "none.pt")]
    assert export_descriptor.main(given) == 2
    assert capsys.readouterr().err.startswith("error: ")
