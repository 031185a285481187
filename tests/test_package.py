"""The package as people install it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import active_indexing

ROOT = Path(__file__).parents[1]
EXTRAS = {"gpu", "attacks", "models", "training", "report", "export", "service", "c2pa", "demo", "dev"}
# Imported under a name that is not the project's.
PROJECTS = {
    "PIL": "pillow",
    "faiss": "faiss-cpu",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "prometheus_client": "prometheus-client",
    "c2pa": "c2pa-python",
}
SOURCES = ("active_indexing", "pyproject.toml", "setup.py", "requirements.txt", "requirements-dev.txt",
           "README.md", "LICENSE", "MANIFEST.in")  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the tree stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "dist" / done.stdout.splitlines()[-1]


def metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name).decode()


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "active_indexing").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there
    assert {"active_indexing/py.typed", "active_indexing/reporting/page.html"} <= held


@pytest.mark.slow
def test_the_wheel_works_in_another_folder_without_the_tree(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "active-indexing = active_indexing.__main__:main" in archive.read(entry).decode()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    program = (
        "import active_indexing, sys; from active_indexing.cli.main import main;"
        f"assert active_indexing.__file__.startswith({str(tmp_path)!r});"
        "sys.exit(main(['--version']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"active-indexing {active_indexing.__version__}\n")


@pytest.mark.slow
def test_the_command_of_a_fresh_environment_releases_a_photo_in_another_folder(
    wheel: Path, tmp_path: Path
) -> None:
    """The environment holds this wheel; what it needs is seen through a path, so nothing is downloaded."""
    place, work = tmp_path / "environment", tmp_path / "elsewhere"
    venv.create(place, symlinks=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    (work / "photos").mkdir(parents=True)
    Image.effect_noise((96, 64), 40).save(work / "photos" / "noise.png")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def told(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    pip = (sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "--no-index")
    told(*pip, "--no-deps", "--no-compile", "--ignore-installed", wheel)
    where = told(place / "bin" / "python", "-c", "import active_indexing; print(active_indexing.__file__)")
    assert Path(where.strip()) == site / "active_indexing" / "__init__.py"
    command = place / "bin" / "active-indexing"
    assert told(command, "doctor").endswith("a release can run.\n")
    plain = ("--eval_sample", "none", "--report", "False", "--workers", "0", "--verbose", "0")
    told(command, "run", "--data_dir", "photos", "--output_dir", "out", *plain)
    with (
        Image.open(work / "photos" / "noise.png") as before,
        Image.open(work / "out/imgs/noise.png") as after,
    ):
        assert (after.size, after.mode) == (before.size, before.mode)
        assert after.tobytes() != before.tobytes()


@pytest.mark.slow
def test_the_wheel_says_what_it_needs(wheel: Path) -> None:
    told = metadata(wheel)
    assert f"Version: {active_indexing.__version__}\n" in told
    assert set(re.findall(r"^Provides-Extra: (\S+)$", told, flags=re.MULTILINE)) == EXTRAS
    plain = set(re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", told, flags=re.MULTILINE))
    assert plain == set(sections()[""])
    assert not {"augly", "timm", "kornia", "matplotlib", "faiss-gpu"} & plain


def sections() -> dict[str, list[str]]:
    """Projects of requirements.txt by extra, read line by line and not by setup.py's own reader."""
    found: dict[str, list[str]] = {"": []}
    extra = ""
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if heading := re.match(r"# \[(\w+)\]", line):
            extra = heading[1]
            found[extra] = []
        elif project := re.match(r"[\w-]+", line):
            found[extra].append(project[0])
    return found


def test_dependencies_are_written_once_and_name_no_host() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not {"dependencies", "optional-dependencies", "version"} & project.keys()
    for name in ("pyproject.toml", "setup.py", "requirements.txt", "requirements-dev.txt", "Makefile"):
        assert not re.search(r"https?://|index-url", (ROOT / name).read_text()), name
    assert sections().keys() == EXTRAS - {"dev"} | {""}


def test_every_third_party_that_the_package_imports_is_required_by_name() -> None:
    required = {project for projects in sections().values() for project in projects}
    imported = set()
    for path in (ROOT / "active_indexing").rglob("*.py"):
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), flags=re.MULTILINE))
    third = {name for name in imported if name not in sys.stdlib_module_names} - {"active_indexing"}
    assert {PROJECTS.get(name, name) for name in third} <= required


def test_no_program_finds_the_package_by_hand() -> None:
    for folder in ("scripts", "data", "analysis", "active_indexing"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "sys.path" not in path.read_text(), path


CUDA = re.compile(r"nvidia-|cuda-|triton$")  # what torch brings beside itself, and only its CUDA build does
CUDA_LIBRARIES = re.compile(r"lib(torch|c10)_(cuda|nvshmem)")  # parts of torch that its CPU build lacks


def installed_bytes(projects: list[str]) -> int:
    """Of projects and all that they require, as pip's records have them, but for CUDA."""
    total, waiting, seen = 0, list(projects), set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen or CUDA.match(name):
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:  # faiss-gpu in place of faiss-cpu
            continue
        total += sum(file.size or 0 for file in found.files or [] if not CUDA_LIBRARIES.match(file.name))
        required = [Requirement(line) for line in found.requires or []]
        waiting += [each.name for each in required if not each.marker or each.marker.evaluate({"extra": ""})]
    return total


def test_without_cuda_an_installation_is_as_small_as_the_readme_says() -> None:
    (told,) = re.findall(r"about ([\d.]+) GB in all", (ROOT / "README.md").read_text())
    assert 0.5 < installed_bytes(sections()[""]) / 1e9 < float(told)
    assert float(told) < 2.5
