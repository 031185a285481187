"""The walls of the design, read from the imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "active_indexing"
MODULES = sorted(PACKAGE.rglob("*.py"))

# The pipeline's stages from the first to the last; a stage knows none that comes after it.
STAGES = (
    "images", "encodings", "descriptors", "indexing", "index_store", "targets", "changes", "activation",
    "entries", "release", "attacks", "search", "evaluation", "results", "summary", "pipeline",
)  # fmt: skip

# Pixels are decoded and encoded here; changes are enlarged to an image's size, and attacks and drawn training
# edits work on images.
PIL_MODULES = {
    "images", "opening", "colour", "exif", "source_file", "encodings", "changes", "attacks", "training",
}  # fmt: skip


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def stage_of(module: str) -> str:
    """``active_indexing.attacks.pool`` to ``attacks``."""
    return [*module.split("."), ""][1]


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(str(node.module))
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def importers(package: str, folder: Path = PACKAGE) -> set[str]:
    return {
        name_of(path)
        for path in folder.rglob("*.py")
        if any(name.split(".")[0] == package for name in imports(path))
    }


def test_only_indexing_imports_faiss() -> None:
    assert importers("faiss") == {"active_indexing.indexing"}


def test_only_the_attacks_import_augly() -> None:
    # It is imported by name, so that importing the attacks stays cheap.
    namers = [path for path in MODULES if re.search(r"import_module\(.augly", path.read_text())]
    assert {stage_of(name_of(path)) for path in namers} == {"attacks"}
    assert {stage_of(module) for module in importers("augly")} <= {"attacks"}


def test_only_the_reader_and_what_edits_images_import_pillow() -> None:
    assert {stage_of(module) for module in importers("PIL")} <= PIL_MODULES


def test_the_package_knows_nothing_of_the_programs_around_it() -> None:
    for package in ("scripts", "analysis", "main", "data", "tests"):
        assert not importers(package), package


def test_the_analysis_needs_neither_torch_nor_faiss() -> None:
    for package in ("torch", "faiss"):
        assert not importers(package, ROOT / "analysis"), package


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_stage_knows_no_later_stage(path: Path) -> None:
    stage = stage_of(name_of(path))
    if stage not in STAGES:
        return
    later = STAGES[STAGES.index(stage) + 1 :]
    known = {stage_of(name) for name in imports(path) if name.startswith("active_indexing.")}
    # Attacks are images in, images out, and their jobs are what search consumes; both know earlier stages.
    assert not known & set(later)


def test_nothing_is_called_utils_and_no_module_is_long() -> None:
    for path in MODULES:
        assert path.stem not in ("utils", "helpers", "misc", "common"), path
        assert len(path.read_text().splitlines()) <= 330, path


@pytest.mark.slow
def test_importing_every_module_prints_nothing_and_opens_no_asset() -> None:
    program = f"""
import importlib, sys
opened = []
def watch(event, arguments):
    if event == "open" and "active_indexing" in str(arguments[0]) and "assets" in str(arguments[0]):
        opened.append(str(arguments[0]))
sys.addaudithook(watch)
import active_indexing
assert "torch" not in sys.modules and "numpy" not in sys.modules, "importing the package must stay cheap"
import numpy, random
before = numpy.random.get_state()[1].tolist(), random.getstate()
for name in {[name_of(path) for path in MODULES]}:
    importlib.import_module(name)
assert (numpy.random.get_state()[1].tolist(), random.getstate()) == before, "a generator was used"
assert not opened, opened
assert "augly" not in sys.modules, "augly takes seconds to import"
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
