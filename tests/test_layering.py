"""The walls of the house, read from the imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "active_indexing"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROGRAMS = sorted(
    path for folder in ("scripts", "analysis", "data") for path in (ROOT / folder).rglob("*.py")
)

# A module may import from lines above its own; names on one line are strangers.
LINES = (
    ("checks", "extras", "records", "seeding", "registry"),
    ("artefacts", "parallel"),
    ("metrics",),
    ("images",),
    ("descriptors", "reporting"),
    ("extraction", "attacks", "training"),
    ("index",),
    ("activation", "store"),
    ("release", "evaluation", "query"),
    ("integrations",),
    ("config", "service"),
    ("store_run", "passive_baseline", "view_retrieval"),
    ("pipeline", "api"),
    ("dry_run",),
    ("",),  # the package itself
    ("cli",),
)
LINE = {room: number for number, line in enumerate(LINES) for room in line}

# Inside a package its parts follow the same rule: a part may import from parts to its left. Parts that are
# not named, modules of the ground floor among them, stand at ``*``.
PARTS = {
    "activation": ("config", "objectives", "perturbation", "interface", "*", "methods"),
    "descriptors": ("config", "preprocessing", "networks", "weights", "*"),
    "evaluation": ("config", "protocols", "*"),
    "training": (
        "distributed",
        "optimization",
        "objectives",
        "config",
        "augmentations",
        "data",
        "recipes",
        "*",
    ),
}

# Third parties behind one door each.
DOORS = {
    "faiss": {"index"},
    "augly": {"attacks"},
    "ray": {"parallel.ray_cluster"},
    "fastapi": {"service"},
    "starlette": {"service"},
    "uvicorn": {"service"},
    "prometheus_client": {"service"},
    "sqlite3": {"store.database"},
    "c2pa": {"integrations"},
    "cryptography": {"integrations"},
    "PIL": {
        "images",
        "api.release",
        "cli.thief",
        "attacks",
        "training.augmentations",
        "training.data",
        "activation.perturbation.scaling",
        "reporting",
    },
    "argparse": {"cli", "descriptors.weights.checkpoints"},  # where published checkpoints hold a Namespace
}
WITHOUT_TORCH = ("checks", "extras", "records", "registry", "artefacts", "metrics", "images", "reporting")
WITH_TORCH = {"images.tensors"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def inner(module: str) -> str:
    """``active_indexing.attacks.jobs`` to ``attacks.jobs``."""
    return module.removeprefix("active_indexing").removeprefix(".")


def room_of(module: str) -> str:
    """``active_indexing.attacks.jobs`` to ``attacks``."""
    return inner(module).split(".")[0]


@cache
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


@cache
def own_imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, not what it takes from them."""
    names = {name_of(module) for module in MODULES} - {"active_indexing"}
    packages = {name_of(module) for module in MODULES if module.name == "__init__.py"}
    found = {name for name in imports(path) if name in names - packages}
    return found | ({"active_indexing"} if "active_indexing" in _plain_imports(path) else set())


def _plain_imports(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text()))
    return {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}


def behind(module: str, doors: set[str]) -> bool:
    return any(inner(module) == door or inner(module).startswith(f"{door}.") for door in doors)


def test_every_room_is_in_the_table() -> None:
    rooms = {room_of(name_of(path)) for path in MODULES} - {"__main__"}
    assert rooms <= LINE.keys(), f"not in LINES: {rooms - LINE.keys()}"
    for path in PACKAGE.iterdir():
        assert path.suffix in (".py", "") or path.name == "py.typed", path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_from_lines_above_its_own(path: Path) -> None:
    room = room_of(name_of(path))
    if room == "__main__":
        return
    for other in map(room_of, own_imports(path)):
        assert other == room or LINE[other] < LINE[room], f"{room} may not know {other}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_parts_of_a_package_follow_the_same_rule(path: Path) -> None:
    room, *rest = inner(name_of(path)).split(".")
    if room not in PARTS or not rest:
        return
    parts = PARTS[room]

    def place(part: str) -> int:
        return parts.index(part if part in parts else "*")

    for module in own_imports(path):
        if room_of(module) == room and (other := inner(module).split(".")[1]) != rest[0]:
            assert place(other) <= place(rest[0]), f"{rest[0]} may not know {other}"


@pytest.mark.parametrize("library", DOORS)
def test_third_parties_are_behind_one_door(library: str) -> None:
    # augly is imported by name, so that importing the attacks stays cheap.
    by_name = re.compile(rf"import_module\(.{library}\b")
    users = [
        name_of(path)
        for path in MODULES
        if by_name.search(path.read_text()) or any(name.split(".")[0] == library for name in imports(path))
    ]
    assert [user for user in users if not behind(user, DOORS[library])] == []


def test_light_packages_do_not_know_torch() -> None:
    for path in MODULES:
        if room_of(name_of(path)) in WITHOUT_TORCH and inner(name_of(path)) not in WITH_TORCH:
            assert not {name.split(".")[0] for name in imports(path)} & {"torch", "faiss"}, path


def test_only_those_who_run_everything_know_all_settings() -> None:
    for path in MODULES:
        if "active_indexing.config.RunConfig" in imports(path):
            rooms = (
                "",
                "config",
                "store_run",
                "passive_baseline",
                "view_retrieval",
                "pipeline",
                "dry_run",
                "cli",
            )
            assert room_of(name_of(path)) in rooms, path


def test_the_package_knows_nothing_of_the_programs_around_it() -> None:
    for path in MODULES:
        known = {name.split(".")[0] for name in imports(path)}
        assert not known & {"scripts", "analysis", "main", "data", "tests"}, path


def test_nothing_imports_main_or_the_tests() -> None:
    for path in PROGRAMS:
        assert not {name.split(".")[0] for name in imports(path)} & {"main", "tests"}, path
    for path in (ROOT / "analysis").rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"torch", "faiss", "scripts"}, path


def test_a_package_says_one_sentence_and_imports_nothing() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            assert len(path.read_text().splitlines()) == 1, path


def test_nothing_is_called_utils_and_no_module_is_long() -> None:
    for path in [*MODULES, *PROGRAMS]:
        assert path.stem not in ("utils", "helpers", "misc", "common"), path
        assert len(path.read_text().splitlines()) <= 300, path


@pytest.mark.slow
def test_importing_every_module_prints_nothing_and_opens_no_asset() -> None:
    modules = [name_of(path) for path in MODULES if path.stem != "__main__"]
    if find_spec("fastapi") is None:  # config and tokens are what the command line knows without the extra
        light = ("active_indexing.service.config", "active_indexing.service.tokens")
        modules = [name for name in modules if room_of(name) != "service" or name in light]
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
for name in {modules}:
    importlib.import_module(name)
assert (numpy.random.get_state()[1].tolist(), random.getstate()) == before, "a generator was used"
assert not opened, opened
assert "augly" not in sys.modules, "augly takes seconds to import"
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
