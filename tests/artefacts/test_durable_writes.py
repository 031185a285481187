"""Every file is written by the one module that makes it durable, but for a few named with a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "active_indexing"

WRITERS = {
    "write_bytes", "write_text", "write_index", "savetxt", "memmap", "to_csv", "to_parquet", "to_json",
    "copy2", "copyfile", "copytree", "touch", "mkstemp", "NamedTemporaryFile", "symlink_to", "hardlink_to",
}  # fmt: skip
OWNERS = {"os", "shutil", "tempfile", "faiss", "np", "numpy", "Path"}
OURS = {"cache", "trainer"}  # what they save goes through the module
ALLOWED = {
    "artefacts/atomic.py": "the module itself",
    "artefacts/journal.py": "appends whole lines, each synced; a torn one is dropped",
    "artefacts/run_log.py": "appends whole lines of a log; a torn one is dropped",
    "artefacts/locking.py": "the lock holds nothing that could be lost",
    "release/step_log.py": "appends whole lines of a log; a torn one is dropped",
    "descriptors/weights/download.py": "hashed before it gets its name; can be fetched again",
    "training/data/image_arrays.py": "unpacks into a folder that is removed at the end",
    "training/run.py": "appends lines to a log",
    "extraction/extract.py": "appends rows of work in progress, synced before the journal tells of them",
}


def places(path: Path) -> Iterator[str]:
    """Calls in a file that write a file by themselves."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and writes(node):
            yield f"{path.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)[:60]}"


def writes(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "open" and _mode(call, 1) not in ("r", "rb")
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value.id if isinstance(function.value, ast.Name) else None
    if owner == "atomic":
        return False
    if function.attr == "open":
        return _opens(call, owner)
    if function.attr in ("save", "savez"):  # of NumPy, torch or Pillow: into a path, or into bytes in memory
        return owner not in OURS and not any(
            word in ast.unparse(call) for word in ("content", "file", "buffer")
        )
    if function.attr in ("copy", "replace", "rename", "move"):
        return owner in OWNERS
    return function.attr in WRITERS and "mode='c'" not in ast.unparse(call)


def _opens(call: ast.Call, owner: str | None) -> bool:
    if owner == "os":
        return "O_RDONLY" not in ast.unparse(call)
    return owner not in ("tarfile", "Image", "zipfile") and _mode(call, 0) not in ("r", "rb")


def _mode(call: ast.Call, place: int) -> str:
    given = [each.value for each in call.keywords if each.arg == "mode"] + call.args[place : place + 1]
    if not given:
        return "r"
    return given[0].value if isinstance(given[0], ast.Constant) else "unknown"


def test_no_module_writes_a_file_by_itself() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if str(path.relative_to(PACKAGE)) not in ALLOWED:
            found += list(places(path))
    assert found == []


def test_the_exceptions_are_real() -> None:
    for name in ALLOWED:
        assert list(places(PACKAGE / name)), f"{name} writes nothing by itself any more"


def test_every_way_of_writing_is_noticed() -> None:
    lines = [
        "open('a', 'w')", "open('a', mode='ab')", "path.open('wb')", "path.write_text('x')",
        "np.save('a', x)", "faiss.write_index(index, 'a')", "os.replace('a', 'b')", "shutil.copy2(a, b)",
        "image.save(path)", "os.open('a', os.O_WRONLY)", "open('a', how)",
    ]  # fmt: skip
    harmless = ["open('a')", "open('a', 'rb')", "text.replace('a', 'b')", "image.save(content)", "x.copy()"]
    told = {line: writes(ast.parse(line, mode="eval").body) for line in lines + harmless}
    assert told == dict.fromkeys(lines, True) | dict.fromkeys(harmless, False)
