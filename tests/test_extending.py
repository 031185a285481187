"""The files of docs/extending.md, run as they stand."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import active_indexing
from active_indexing.pipeline import RunSummary
from scripts import train_descriptor
from tests.conftest import Toy
from tests.runs import settings_of, take_images

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
MAIN = r"python main\.py --active True"
TRAIN = r"PYTHONPATH=\. python scripts/train_descriptor\.py"
EXAMPLES = dict(re.findall(r"`(my_package/\w+\.py)`\n\n```python\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, content in EXAMPLES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]


def flags_of(module: str, program: str = MAIN) -> dict[str, str]:
    """The flags that the page's command gives to this example, but for paths."""
    (command,) = re.findall(rf"`{program} (.*my_package\.{module}:.*)`", PAGE)
    words = command.split()
    given = {name[2:]: value for name, value in zip(words[::2], words[1::2], strict=True)}
    return {name: value for name, value in given.items() if "path" not in name}


def run(toy: Toy, folder: Path, **more: str) -> RunSummary:
    images = take_images(toy, folder / "images", 4)
    settings = settings_of(toy, folder / "indexes") | {"data_dir": images, "eval_icd": False} | more
    return active_indexing.run(active_indexing.configure(output_dir=folder / "out", active=True, **settings))


def test_every_example_is_short_and_has_a_command() -> None:
    assert len(EXAMPLES) == 5
    for name, content in EXAMPLES.items():
        assert len(content.splitlines()) < 20, name
        assert flags_of(Path(name).stem, TRAIN if "centred" in name else MAIN)


def test_a_method_of_ones_own_moves_images(toy: Toy, package: Path) -> None:
    summary = run(toy, package, **flags_of("nudge"))
    rows = pd.read_csv(summary.output_dir / "manifest.csv")
    assert (rows["status"] == "released").all()
    assert rows["psnr"].between(43.9, 44.1).all()


def test_a_target_of_ones_own(toy: Toy, package: Path) -> None:
    with_own = run(toy, package, **flags_of("corner"))
    assert pd.read_csv(with_own.output_dir / "manifest.csv")["psnr"].lt(60).all()


def test_an_attack_of_ones_own_is_one_more_row_an_image(toy: Toy, package: Path) -> None:
    rows = pd.read_csv(run(toy, package, **flags_of("poster")).output_dir / "retr_df.csv")
    assert rows["attack"].value_counts()["my_package.poster:poster"] == 4


def test_an_index_type_of_ones_own_is_trained_saved_and_read_again(toy: Toy, package: Path) -> None:
    first = run(toy, package, **flags_of("residual")).content
    (package / "out" / "run.json").unlink()
    assert run(toy, package, **flags_of("residual")).content["retrieval"] == first["retrieval"]
    assert first["index"]["entries"] == 504


def test_a_recipe_of_ones_own_trains_with_its_objective(toy: Toy, package: Path) -> None:
    images, out = take_images(toy, package / "images", 8), package / "out"
    given = flags_of("centred", TRAIN) | {"source": f"{images}:64:4", "output_dir": str(out), "steps": "2"}
    arguments = [word for name, value in given.items() for word in (f"--{name}", value)]
    assert train_descriptor.main(arguments) == 0
    (line,) = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    assert line["step"] == 2
    assert 0 < line["off_centre"] <= 1
    assert (out / "descriptor.pt").stat().st_size > 1e6
