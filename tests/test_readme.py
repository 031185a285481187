"""Every command that the README shows is run here, on two small photos."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

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
    """A folder as the README supposes it: the program, photos and a collection."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("main.py", "scripts", "data", "analysis", "active_indexing"):
        (folder / name).symlink_to(ROOT / name)
    make_photos(folder / "photos", 2, 96, seed=0)
    (folder / "photos" / "1.jpg").rename(folder / "photos" / "cat.jpg")
    make_photos(folder / "collection", 300, 32, seed=1)
    return folder


def test_both_make_commands_are_targets_of_the_makefile() -> None:
    shown = [line.split()[1] for line in commands(ROOT / "README.md") if line.startswith("make ")]
    assert shown == ["run", "test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(shown) <= set(targets)


def test_every_command_of_the_readme_works_in_its_order(workplace: Path) -> None:
    shown = [line for line in commands(ROOT / "README.md") if line.startswith("python ")]
    assert len(shown) == 6
    for line in shown:
        command = [sys.executable, *shlex.split(line)[1:]]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    for output in ("release", "baseline", "own_index"):
        assert len(list((workplace / output / "imgs").iterdir())) == 2
        assert len(pd.read_csv(workplace / output / "retr_df.csv")) == 2 * 15
    assert (workplace / "own_index" / "references.csv").is_file()
    assert (workplace / "release" / "comparison.csv").is_file()


def test_the_commands_of_the_store_work_in_their_order(workplace: Path) -> None:
    shown = [line for line in commands(ROOT / "README.md") if line.startswith("active-indexing ")]
    assert [line.split()[1] for line in shown] == ["release", "thief", "query"]
    for line in shown:
        command = [sys.executable, "-m", "active_indexing", *shlex.split(line)[1:]]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True)
        # Two blurred photos of 96 pixels need not be told apart from strangers.
        assert done.returncode in ((0, 1) if " query " in line else (0,)), f"{line}\n{done.stderr}"
    assert (workplace / "archive" / "released" / "cat.png").is_file()
    assert (workplace / "found" / "page.html").read_text().count("data:image/jpeg") == 4


def test_the_example_in_python_works(workplace: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", example]
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
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
