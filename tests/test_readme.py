"""Every command that the README shows is run here, on two small photos."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from active_indexing.cli import main
from tests.programs import run_script

ROOT = Path(__file__).parents[1]


def commands(document: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", document.read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def make_photos(folder: Path, count: int, size: int, seed: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=95)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README supposes it: photos and a collection."""
    folder = tmp_path_factory.mktemp("readme")
    make_photos(folder / "photos", 2, 96, seed=0)
    (folder / "photos" / "1.jpg").rename(folder / "photos" / "cat.jpg")
    make_photos(folder / "collection", 260, 32, seed=1)
    return folder


def test_both_make_commands_are_targets_of_the_makefile() -> None:
    shown = [line.split()[1] for line in commands(ROOT / "README.md") if line.startswith("make ")]
    assert shown == ["run", "test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(shown) <= set(targets)


def test_every_command_of_the_readme_works_in_its_order(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    shown = [line for line in commands(ROOT / "README.md") if line.startswith("python ")]
    assert len(shown) == 6
    for line in shown:
        assert run_script(*shlex.split(line)[1:]) == 0, f"{line}\n{capsys.readouterr()}"
    for output in ("release", "baseline", "own_index"):
        assert len(list((workplace / output / "imgs").iterdir())) == 2
        assert len(pd.read_csv(workplace / output / "retr_df.csv")) == 2 * 15
    assert (workplace / "own_index" / "references.csv").is_file()
    assert (workplace / "release" / "comparison.csv").is_file()


def test_the_commands_of_the_store_work_in_their_order(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    shown = [line for line in commands(ROOT / "README.md") if line.startswith("active-indexing ")]
    assert [line.split()[1] for line in shown] == ["release", "thief", "query"]
    for line in shown:
        done = main.main(shlex.split(line)[1:])
        # Two blurred photos of 96 pixels need not be told apart from strangers.
        assert done in ((0, 1) if " query " in line else (0,)), f"{line}\n{capsys.readouterr()}"
    assert (workplace / "archive" / "released" / "cat.png").is_file()
    assert (workplace / "found" / "page.html").read_text().count("data:image/jpeg") == 4


def test_the_example_in_python_works(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr() == ("True\n", "")
    assert (workplace / "mine.index").is_file()
    with Image.open(workplace / "cat.png") as image:
        assert image.size == (96, 96)


def test_the_table_of_outputs_names_what_a_run_writes(workplace: Path) -> None:
    shown = set(re.findall(r"^\| `([\w.]+)/?` \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    written = {path.name for path in (workplace / "own_index").iterdir() if not path.name.startswith(".")}
    assert written == shown


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).is_file(), target
