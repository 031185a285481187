from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from active_indexing.cli import main
from active_indexing.service.tokens import (
    ADMIN,
    READ,
    TokenFile,
    add_token,
    digest,
    read_tokens,
    revoke_token,
)
from tests.conftest import Toy
from tests.service.worlds import filled


def test_a_token_is_kept_as_its_hash_and_found_by_its_text(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    text = add_token(path, "newsroom", READ)
    assert len(text) > 43
    assert text not in path.read_text()
    assert digest(text) in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = TokenFile(path).find(text)
    assert found is not None
    assert (found.name, found.scope) == ("newsroom", READ)
    for wrong in ("", text[:-1], text + "x", digest(text)):
        assert TokenFile(path).find(wrong) is None


def test_new_and_revoked_tokens_count_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    open_file = TokenFile(path)
    assert open_file.tokens() == []
    first, second = add_token(path, "one", READ), add_token(path, "two", ADMIN)
    assert open_file.find(first) is not None
    assert revoke_token(path, "one")
    assert open_file.find(first) is None
    assert open_file.find(second) is not None
    assert not revoke_token(path, "one")


def test_names_are_there_and_differ(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    add_token(path, "one", READ)
    for name in ("one", " "):
        with pytest.raises(ValueError, match="a token needs a name that no other has, got"):
            add_token(path, name, READ)


def test_tokens_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: add_token(path, f"t{n}", READ), range(16)))
    assert {token.name for token in read_tokens(path)} == {f"t{n}" for n in range(16)}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other", "tokens": []}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"is no file of tokens .*; delete it and make the tokens anew"):
        TokenFile(path)


def test_the_command_shows_a_token_once(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(filled(toy, tmp_path / "store"))
    assert main.main(["token", store, "add", "newsroom", "--scope", "admin"]) == 0
    text = capsys.readouterr().out.strip()
    assert TokenFile(tmp_path / "store" / "tokens.json").find(text) is not None
    assert main.main(["token", store, "list"]) == 0
    told = capsys.readouterr().out
    assert told.split()[:2] == ["newsroom", "admin"]
    assert text not in told
    assert main.main(["token", store, "add", "newsroom"]) == 2
    assert main.main(["token", store, "add"]) == 2
    assert "give the name of the token to add" in capsys.readouterr().err
    assert main.main(["token", store, "revoke", "newsroom"]) == 0
    assert main.main(["token", store, "revoke", "newsroom"]) == 1
    assert main.main(["token", str(tmp_path), "list"]) == 2
