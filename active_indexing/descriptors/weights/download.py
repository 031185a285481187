"""Published weights on this machine: downloaded once, resumed when cut off, checked every time."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from active_indexing.artefacts.atomic import write_text
from active_indexing.artefacts.identity import sha256_file

CACHE_VARIABLE = "ACTIVE_INDEXING_CACHE"
CHUNK = 1 << 20  # bytes per read
TIMEOUT = 30.0  # seconds without a byte before a connection counts as lost
ATTEMPTS = 5  # connections per call; each continues where the last one was cut off


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file of weights on the web.

    Attributes:
        url: where its authors published it.
        sha256: its digest, or ``None`` where the authors state none; then the digest of the first
            download is recorded beside the file, and later uses are checked against that.
    """

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """Last component of the URL."""
        return Path(urllib.parse.urlsplit(self.url).path).name


class _Interrupted(Exception):
    """The connection ended before the file did."""


def cache_folder() -> Path:
    """Folder of downloaded weights: ``$ACTIVE_INDEXING_CACHE``, else ``~/.cache/active_indexing``."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "active_indexing"


def fetch(file: PublishedFile, *, progress: bool = True) -> Path:
    """Path of a published file in the cache, downloaded if it is not there yet, and checked.

    A file put there by hand is used like a downloaded one. An interrupted download continues where it
    stopped, in this call or in the next; the file has its final name only when it is whole.

    Args:
        file: what to get.
        progress: show a bar on a terminal.

    Returns:
        Path of the whole, checked file.

    Raises:
        ConnectionError: if the server can't be reached, refuses, or keeps breaking off.
        ValueError: if the content is not the published one.
    """
    path = cache_folder() / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if not path.is_file():
            part = path.with_name(f"{path.name}.part")
            _download(file, part, path, progress)
            _check_digest(part, path, file)
            os.replace(part, path)
            _validator_of(part).unlink(missing_ok=True)
        _check_digest(path, path, file)
    return path


def _check_digest(content: Path, path: Path, file: PublishedFile) -> None:
    """Compare ``content`` with the published digest, or with the one recorded for ``path``."""
    record = path.with_name(f"{path.name}.sha256")
    digest = sha256_file(content)
    expected = file.sha256 or (record.read_text().split()[0] if record.is_file() else None)
    if expected is None:
        write_text(record, f"{digest}  {path.name}\n")
    elif digest != expected:
        if content != path:
            content.unlink()
        raise ValueError(
            f"{path.name} has SHA-256 {digest}, expected {expected}: it was damaged on its way or changed "
            f"by its publisher. Delete {path} and {record.name} beside it, if they exist, to download it "
            "again."
        )


def _download(file: PublishedFile, part: Path, path: Path, progress: bool) -> None:
    """Append to ``part`` until it is whole."""
    advice = f"download {file.url} on a machine that can and put it at {path}"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _continue_download(file, part, progress)
            return
        except urllib.error.HTTPError as error:
            raise ConnectionError(f"{file.url} answers {error.code} {error.reason}; {advice}.") from error
        except urllib.error.URLError as error:
            raise ConnectionError(
                f"the weights {file.name} can't be downloaded ({error.reason}); {advice}."
            ) from error
        except (_Interrupted, OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                raise ConnectionError(
                    f"the download of {file.name} broke off {ATTEMPTS} times ({error}); run the same command "
                    f"again to continue it, or {advice}."
                ) from error


def _continue_download(file: PublishedFile, part: Path, progress: bool) -> None:
    """One connection: ask for what is missing, append what comes."""
    start = part.stat().st_size if part.is_file() else 0
    validator = _validator_of(part)
    request = urllib.request.Request(file.url, headers={"User-Agent": "active_indexing"})
    if start and validator.is_file():
        # Without If-Range, a file that changed on the server would be continued with bytes of the new one.
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", json.loads(validator.read_text())["validator"])
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return  # all of it had arrived before the last run was killed
        part.unlink()  # longer than the file: a part of something else
        raise _Interrupted("the server has no more bytes") from error
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT or _first_byte(response) != start:
            start = 0
            _remember_validator(response, validator)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        _append(response, part, start, total, file.name if progress else None)
    if total is not None and part.stat().st_size != total:
        raise _Interrupted(f"{part.stat().st_size} of {total} bytes arrived")


def _append(response: Any, part: Path, start: int, total: int | None, label: str | None) -> None:
    with (
        open(part, "ab" if start else "wb") as output,
        tqdm(
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            desc=label,
            disable=None if label else True,  # None: only on a terminal
        ) as bar,
    ):
        while chunk := response.read(CHUNK):
            output.write(chunk)
            bar.update(len(chunk))
        output.flush()
        os.fsync(output.fileno())


def _first_byte(response: Any) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _validator_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _remember_validator(response: Any, path: Path) -> None:
    """Keep the ETag, or else the date, that says whether the server still has the same file."""
    etag = response.headers.get("ETag")
    strong = etag if etag and not etag.startswith("W/") else None
    validator = strong or response.headers.get("Last-Modified")
    if validator:
        write_text(path, json.dumps({"validator": validator}))
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two processes that need the same file: the second waits, then finds it."""
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
