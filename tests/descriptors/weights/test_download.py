from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from active_indexing.descriptors.weights import download
from active_indexing.descriptors.weights.download import CACHE_VARIABLE, PublishedFile, cache_folder, fetch
from tests.descriptors.server import WeightsServer, serving

CONTENT = bytes(range(256)) * 400
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def file(server: WeightsServer) -> PublishedFile:
    return PublishedFile(url=f"{server.url}/models/net.pt", sha256=DIGEST)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_downloaded_once(file: PublishedFile, server: WeightsServer, cache: Path) -> None:
    assert fetch(file).read_bytes() == CONTENT
    assert fetch(file) == cache / "net.pt"
    assert server.requests == [None]
    assert names_in(cache) == ["net.pt"]


def test_the_cache_is_in_the_home_folder_unless_the_variable_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "active_indexing"


def test_a_download_that_breaks_off_continues_where_it_stopped(
    file: PublishedFile, server: WeightsServer
) -> None:
    server.cut_after = 30_000
    assert fetch(file).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_a_later_run_continues_the_download_of_an_earlier_one(
    file: PublishedFile, server: WeightsServer, cache: Path
) -> None:
    server.cut_after = 10_000
    with pytest.raises(
        ConnectionError, match=r"broke off 5 times \(50000 of 102400 bytes arrived\); run the"
    ):
        fetch(file)
    assert not (cache / "net.pt").exists()
    server.cut_after = None
    assert fetch(file).read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=50000-"
    assert names_in(cache) == ["net.pt"]


@pytest.mark.parametrize("change", ["other content", "no ranges", "no validator"])
def test_a_part_that_can_not_be_continued_is_started_again(
    change: str, file: PublishedFile, server: WeightsServer
) -> None:
    if change == "no validator":
        server.etag = None
    server.cut_after = 15_000
    with pytest.raises(ConnectionError):
        fetch(file)
    server.cut_after = None
    if change == "other content":
        server.etag, server.content = '"two"', CONTENT[::-1]
        file = PublishedFile(url=file.url)
    elif change == "no ranges":
        server.ranges = False
    assert fetch(file).read_bytes() == server.content


def test_a_part_that_is_whole_needs_no_more_bytes(
    file: PublishedFile, server: WeightsServer, cache: Path
) -> None:
    server.cut_after = 10_000
    with pytest.raises(ConnectionError):
        fetch(file)
    (cache / "net.pt.part").write_bytes(CONTENT)
    assert fetch(file).read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=102400-"


def test_a_part_longer_than_the_file_is_started_again(
    file: PublishedFile, server: WeightsServer, cache: Path
) -> None:
    server.cut_after = 10_000
    with pytest.raises(ConnectionError):
        fetch(file)
    server.cut_after = None
    (cache / "net.pt.part").write_bytes(CONTENT + b"more")
    assert fetch(file).read_bytes() == CONTENT


def test_wrong_content_is_refused_and_nothing_stays(server: WeightsServer, cache: Path) -> None:
    with pytest.raises(ValueError, match=f"net.pt has SHA-256 {DIGEST}, expected {'0' * 64}"):
        fetch(PublishedFile(url=f"{server.url}/net.pt", sha256="0" * 64))
    assert not (cache / "net.pt").exists()
    assert not (cache / "net.pt.part").exists()


def test_a_file_damaged_in_the_cache_is_refused(file: PublishedFile, cache: Path) -> None:
    path = fetch(file)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"damaged on its way .* Delete .*net\.pt"):
        fetch(file)


def test_an_unknown_digest_is_recorded_at_the_first_download_and_checked_after(
    server: WeightsServer, cache: Path
) -> None:
    file = PublishedFile(url=f"{server.url}/net.pt")
    path = fetch(file)
    assert (cache / "net.pt.sha256").read_text() == f"{DIGEST}  net.pt\n"
    assert fetch(file) == path
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(ValueError, match=f"expected {DIGEST}"):
        fetch(file)


def test_a_file_put_into_the_cache_by_hand_needs_no_network(cache: Path) -> None:
    cache.mkdir()
    (cache / "net.pt").write_bytes(CONTENT)
    file = PublishedFile(url="http://127.0.0.1:9/net.pt", sha256=DIGEST)
    assert fetch(file).read_bytes() == CONTENT


def test_without_a_network_one_sentence_says_where_to_put_the_file(cache: Path) -> None:
    file = PublishedFile(url="http://127.0.0.1:9/net.pt")
    expected = (
        r"net\.pt can't be downloaded \(.*refused\); download http://127\.0\.0\.1:9/net\.pt on a machine "
        rf"that can and put it at {cache}/net\.pt\."
    )
    with pytest.raises(ConnectionError, match=expected):
        fetch(file)


def test_a_server_that_refuses_is_named_with_its_answer(file: PublishedFile, server: WeightsServer) -> None:
    server.status = 404
    with pytest.raises(ConnectionError, match=r"net\.pt answers 404 Not Found; download"):
        fetch(file)
    assert len(server.requests) == 1


def test_a_silent_server_counts_as_lost(
    file: PublishedFile, server: WeightsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    release = threading.Event()
    monkeypatch.setattr(f"{serving.__module__}.answer", lambda handler, _: release.wait(5))
    try:
        with pytest.raises(ConnectionError, match="timed out"):
            fetch(file)
    finally:
        release.set()


def test_two_threads_that_need_one_file_download_it_once(file: PublishedFile, server: WeightsServer) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(file).read_bytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert server.requests == [None]
