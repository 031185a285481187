"""What is said where a library is absent that only some of the work needs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import active_indexing
from active_indexing.cli import main
from active_indexing.descriptors.networks.architectures import build_network
from active_indexing.extras import MissingExtraError, require, require_for_reports, third_party
from tests.test_package import sections


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Packages that seem not to be installed."""
    names: set[str] = set()
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "active_indexing.extras.find_spec", lambda name: None if name in names else find(name)
    )
    return names


def test_a_library_that_is_there_is_imported() -> None:
    assert third_party("json.decoder", "attacks").JSONDecoder
    require("json", "attacks")
    require_for_reports()


@pytest.mark.parametrize(
    ("name", "extra"),
    [("timm", "models"), ("augly", "attacks"), ("kornia", "training"), ("h5py", "training"),
     ("matplotlib", "report"), ("pandas", "report")],
)  # fmt: skip
def test_the_extra_is_named_and_brings_the_library(absent: set[str], name: str, extra: str) -> None:
    absent.add(name)
    with pytest.raises(
        MissingExtraError, match=rf"this needs {name}, .*pip install 'active-indexing\[{extra}\]'"
    ):
        third_party(name, extra)
    assert name in sections()[extra]


def test_an_evaluation_without_augly_is_refused_before_any_work(
    absent: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent.add("augly")
    (tmp_path / "photos").mkdir()
    argv = ["--data_dir", str(tmp_path / "photos"), "--output_dir", str(tmp_path / "out")]
    assert main.main(argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: this needs augly, which is not installed; pip install")
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_network_of_timm_without_timm_is_refused(absent: set[str]) -> None:
    absent.add("timm")
    build_network("resnet10", 8)
    with pytest.raises(MissingExtraError, match="this needs timm"):
        build_network("vit_tiny_patch16_224", 8)


@pytest.mark.slow
def test_a_release_loads_none_of_them() -> None:
    program = (
        "import sys, torch, active_indexing.pipeline\n"
        "from active_indexing.descriptors.config import DescriptorConfig\n"
        "from active_indexing.descriptors.loading import load_descriptor\n"
        "load_descriptor(DescriptorConfig(), torch.device('cpu'))\n"
        "heavy = {'timm', 'kornia', 'torchvision', 'augly', 'matplotlib', 'pandas', 'torch._dynamo'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "from active_indexing.activation.perturbation.optimizers import check_specs\n"
        "check_specs('Adam,lr=1e-0', 'StepLR,step_size=3')\n"  # names of torch, which timm has too
        "print('timm' in sys.modules)"
    )
    root = Path(active_indexing.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\nFalse\n", "")
