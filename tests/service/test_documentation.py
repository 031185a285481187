"""docs/service.md: its commands, run in their order, and its tables, held to the program."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="pip install 'active-indexing[service]' brings it")
pytest.importorskip("c2pa", reason="pip install 'active-indexing[c2pa]' brings it")

from active_indexing.cli import main
from active_indexing.service.schemas import QueryAnswer
from active_indexing.service.tokens import read_tokens
from tests.conftest import Toy
from tests.integrations.certificates import written
from tests.service.test_serving import running
from tests.service.worlds import client_of, copy_of, filled
from tests.store.worlds import some

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "service.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
LOCAL = "http://127.0.0.1:8000"


def in_shell(script: str, folder: Path) -> str:
    """What a shell answers in which the command is installed; fails with the first command that does."""
    command = f'active-indexing() {{ "{sys.executable}" -m active_indexing "$@"; }}\nset -e\n{script}'
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_every_command_works_in_its_order(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(toy, tmp_path / "archive")
    some(toy, tmp_path / "photos", slice(20, 22))
    (tmp_path / "found.png").write_bytes(copy_of(toy, 20))
    monkeypatch.chdir(tmp_path)
    (release, serve), ask, tokens, to_others, signed = BLOCKS[0].splitlines(), *BLOCKS[1:]
    assert main.main(shlex.split(release)[1:]) == 0
    assert "2 released into archive" in capsys.readouterr().out
    program, command, store, *flags = shlex.split(serve)
    assert (program, command) == ("active-indexing", "serve")
    with running(tmp_path / store, *flags) as service:
        answers = [json.loads(line) for line in in_shell(ask.replace(LOCAL, service.address).replace(
            "/v1/query\n", "/v1/query; echo\n"), tmp_path).splitlines()]  # fmt: skip
        assert [answer["verdict"] for answer in answers] == ["match", "match"]
        (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        exec(example.replace(LOCAL, service.address), {})
        assert capsys.readouterr().out == "match 26.png\n"
        told = in_shell(tokens.replace(LOCAL, service.address), tmp_path)
        assert '"verdict":"match"' in told
        assert '"images":22' in told
        assert re.search(r"^newsroom +read ", told.partition("}}")[2].replace("}", "}\n"), re.MULTILINE)
        assert told.endswith("newsroom is refused from now on.\n")
        written(tmp_path)
        some(toy, tmp_path / "more", slice(23, 24))
        (tmp_path / "stripped.png").write_bytes(copy_of(toy, 23))
        sign, find = signed.splitlines()
        assert main.main(shlex.split(sign)[1:]) == 0
        (match, *_) = json.loads(in_shell(find.replace(LOCAL, service.address), tmp_path))["matches"]
        assert match["manifestId"].startswith("urn:c2pa:")
        capsys.readouterr()
    assert read_tokens(tmp_path / store / "tokens.json") == []
    assert main.main(shlex.split(to_others)[1:]) == 2, "the token was revoked"
    assert "make one first: active-indexing token archive add NAME" in capsys.readouterr().err


def test_the_answer_that_is_shown_has_the_fields_of_an_answer() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert list(json.loads(shown)) == list(QueryAnswer.model_fields)


def test_every_refusal_is_in_the_table() -> None:
    raised = {("429", "busy"), ("422", "parameter")}  # by a function of its own; 400 elsewhere
    for path in (ROOT / "active_indexing" / "service").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
                status, code = (getattr(each, "value", None) for each in node.args[:2])
                if isinstance(status, int) and isinstance(code, str):
                    raised.add((str(status), code))
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", PAGE, re.MULTILINE)
    shown = {(status, code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert shown == raised


def test_every_route_is_in_the_table(toy: Toy, tmp_path: Path) -> None:
    with client_of(filled(toy, tmp_path / "store")) as client:
        paths = client.get("/openapi.json").json()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert set(re.findall(r"^\| `((?:GET|POST) .*?)` \|", PAGE, re.MULTILINE)) == routes
