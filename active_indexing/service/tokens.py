"""Bearer tokens: shown once when they are made, kept as hashes.

A token has 256 random bits, so one round of SHA-256 is enough: a slow hash protects what can be guessed, as
passwords can.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from active_indexing.artefacts.atomic import write_json

FORMAT = "active_indexing.tokens/1"
READ, ADMIN = "read", "admin"
SCOPES = (READ, ADMIN)
"""``read`` asks; ``admin`` also sees paths of this machine and the metrics."""

PREFIX = "aix_"
"""By which people and scanners of leaked secrets know a token."""


@dataclass(frozen=True)
class Token:
    """What is kept of a token.

    Attributes:
        name: for people and for the log.
        scope: ``read`` or ``admin``.
        sha256: of the token, hexadecimal.
        made_at: UTC time, ISO 8601.
    """

    name: str
    scope: str
    sha256: str
    made_at: str


def read_tokens(path: Path) -> list[Token]:
    """All tokens of a file; none where there is no file.

    Raises:
        ValueError: a file that holds something else.
    """
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError("another format")
        return [Token(**each) for each in content["tokens"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no file of tokens ({error}); delete it and make the tokens anew."
        ) from error


def add_token(path: Path, name: str, scope: str) -> str:
    """Make a token.

    Args:
        path: of the file, made if there is none, readable by its owner alone.
        name: under which it can be revoked.
        scope: ``read`` or ``admin``.

    Returns:
        The token, which is kept nowhere.

    Raises:
        ValueError: a name that is taken or empty.
    """
    with _locked(path):
        tokens = read_tokens(path)
        if not name.strip() or any(token.name == name for token in tokens):
            raise ValueError(f"a token needs a name that no other has, got {name!r}.")
        text = PREFIX + secrets.token_urlsafe(32)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        _write(path, [*tokens, Token(name, scope, digest(text), made)])
        return text


def revoke_token(path: Path, name: str) -> bool:
    """Refuse a token from now on; ``False`` when there is none of this name."""
    with _locked(path):
        tokens = read_tokens(path)
        left = [token for token in tokens if token.name != name]
        if len(left) < len(tokens):
            _write(path, left)
        return len(left) < len(tokens)


def digest(text: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, tokens: list[Token]) -> None:
    write_json(path, {"format": FORMAT, "tokens": [asdict(token) for token in tokens]})
    path.chmod(0o600)  # hashes give no token away, but names and days are nobody's business


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two commands at once lose neither token."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class TokenFile:
    """The tokens of a file as they are now: a new or a revoked one counts with the next request.

    Args:
        path: of the file, which need not be there.

    Raises:
        ValueError: a file that holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, ...] | None = ()
        self._tokens: list[Token] = []
        self.tokens()

    def tokens(self) -> list[Token]:
        """All that are valid."""
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._tokens = read_tokens(self.path)
            self._stamp = stamp
        return self._tokens

    def find(self, text: str) -> Token | None:
        """The token of this text; takes as long whichever it is."""
        given = digest(text)
        found = None
        for token in self.tokens():
            if hmac.compare_digest(token.sha256, given):
                found = token
        return found

    def _stamp_now(self) -> tuple[int, ...] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
