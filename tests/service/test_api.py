from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="pip install 'active-indexing[service]' brings it")
pytest.importorskip("httpx2", reason="FastAPI's TestClient needs it")

from active_indexing.query.lookup import Lookup
from active_indexing.query.store_calibration import measured, save_calibration
from active_indexing.service import engine as engine_module
from active_indexing.service.guard import JsonLines
from active_indexing.service.refusals import Refusal
from active_indexing.service.tokens import ADMIN, READ, add_token, revoke_token
from active_indexing.service.uploads import image_of
from active_indexing.store.archive import Store
from tests.conftest import Toy
from tests.service.worlds import client_of, copy_of, filled, listening, photo, png
from tests.store.worlds import some, toy_release

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def unchanged(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(toy, tmp_path_factory.mktemp("api") / "store")


@pytest.fixture(scope="module")
def client(unchanged: Path) -> Iterator[Any]:
    with client_of(unchanged) as client:
        yield client


@pytest.fixture
def store(toy: Toy, tmp_path: Path) -> Path:
    return filled(toy, tmp_path / "store")


def ask(client: Any, content: bytes, **headers: str) -> Any:
    return client.post("/v1/query", content=content, headers=PNG | headers)


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    return answer.json()["error"]["message"]


# Answers


def test_the_answer_is_that_of_query(toy: Toy, unchanged: Path, client: Any) -> None:
    with Lookup(unchanged) as lookup:
        for place in (0, 3, 7, 30):
            content = copy_of(toy, place)
            expected, told = lookup.ask(content), ask(client, content).json()
            assert told["verdict"] == expected.verdict
            assert told["best"]["id"] == str(expected.best.id)
            assert told["best"]["name"] == Path(expected.best.released).name
            for name, value in (("score", expected.best.score), ("sigma", expected.best.normalized),
                                ("distance", expected.best.distance)):  # fmt: skip
                assert told["best"][name] == pytest.approx(value, abs=1e-6)
            assert told["runner_up"]["id"] == str(expected.runner_up.id)
            assert tuple(told["box"].values()) == expected.box
            assert told["view"] == expected.view
            assert (told["best"]["sigma"] > told["scale"]["match"]) == (expected.verdict == "match")
            assert told["scale"]["unsure"] < told["scale"]["match"]
            with Image.open(io.BytesIO(content)) as image:
                assert (told["width"], told["height"]) == image.size


def test_a_body_and_a_form_are_one(toy: Toy, client: Any) -> None:
    content = copy_of(toy, 2)
    answers = [
        ask(client, content).json(),
        client.post(
            "/v1/query", content=content, headers={"Content-Type": "application/octet-stream"}
        ).json(),
        client.post(
            "/v1/query", files={"image": ("x.png", content, "image/png")}, data={"note": "hm"}
        ).json(),
    ]
    for answer in answers:
        answer.pop("milliseconds")
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["verdict"] == "match"


def test_the_very_bytes_are_told(toy: Toy, client: Any) -> None:
    told = ask(client, photo(toy, 5).read_bytes()).json()
    assert (told["verdict"], told["view"], told["box"]) == ("match", "file", None)
    assert told["reasons"][0] == "the very bytes of the source"


def test_an_image_and_its_small_picture(toy: Toy, client: Any) -> None:
    best = ask(client, copy_of(toy, 4)).json()["best"]
    told = client.get(f"/v1/images/{best['id']}").json()
    assert told["name"] == best["name"] == photo(toy, 4).name
    assert told["released"].endswith(told["name"])
    picture = client.get(best["thumbnail"], params={"edge": 32})
    assert picture.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(picture.content)) as image, Image.open(photo(toy, 4)) as original:
        assert max(image.size) == 32
        assert image.width / image.height == pytest.approx(original.width / original.height, rel=0.06)
        small = original.convert("RGB").resize(image.size)
        assert np.abs(np.asarray(image, float) - np.asarray(small, float)).mean() < 12


def test_status_and_health(client: Any) -> None:
    told = client.get("/v1/status").json()
    assert (told["images"], told["removed"], told["calibration"]) == (20, 0, "estimate")
    assert told["limits"]["max_bytes"] == 20_000_000
    assert "thresholds are estimated" in told["notes"][0]
    assert client.get("/healthz").json() == {"status": "ok"}


def test_metrics_count_what_was_asked(toy: Toy, store: Path) -> None:
    with client_of(store) as client:
        ask(client, copy_of(toy, 1))
        ask(client, b"broken")
        text = client.get("/metrics").text
    assert 'active_indexing_requests_total{route="/v1/query",status="200"} 1.0' in text
    assert 'active_indexing_requests_total{route="/v1/query",status="422"} 1.0' in text
    assert 'active_indexing_verdicts_total{verdict="match"} 1.0' in text
    assert "active_indexing_images 20.0" in text


def test_openapi_describes_body_and_refusals(client: Any) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths["/v1/query"]["post"]["requestBody"]["content"]) == {
        "image/*", "application/octet-stream", "multipart/form-data",
    }  # fmt: skip
    assert "4XX" in paths["/v1/query"]["post"]["responses"]
    assert paths["/v1/query"]["post"]["security"] == [{"HTTPBearer": []}]


# In step with the store


def test_releases_and_removals_count_at_once(toy: Toy, store: Path, tmp_path: Path) -> None:
    content = copy_of(toy, 20)
    with client_of(store) as client:
        before = ask(client, content).json()
        toy_release(toy, some(toy, tmp_path / "new", slice(20, 21)), store)
        found = ask(client, content).json()
        assert found["verdict"] == "match"
        assert before["best"]["id"] != found["best"]["id"]
        address = found["best"]["thumbnail"]
        assert client.get(address).status_code == 200
        with Store.writing(store) as opened:
            opened.remove(int(found["best"]["id"]))
        assert ask(client, content).json()["best"]["id"] != found["best"]["id"]
        assert "was removed" in refused(client.get(address), 410, "removed")
        assert client.get("/v1/status").json()["removed"] == 1


def test_a_calibration_counts_at_once(toy: Toy, store: Path) -> None:
    with client_of(store) as client:
        assert ask(client, copy_of(toy, 1)).json()["verdict"] == "match"
        with Lookup(store) as lookup:
            scores = np.linspace(0.9, 0.999, 300)
            save_calibration(lookup.store, measured(lookup.store, scores, 0.1, True, "non-matching queries"))
        told = ask(client, copy_of(toy, 30)).json()
        assert told["verdict"] == "no match"
        assert told["best"]["sigma"] < 0
        assert client.get("/v1/status").json()["calibration"] == "non-matching queries"


def test_an_estimate_follows_a_store_that_grows(toy: Toy, store: Path, tmp_path: Path) -> None:
    with Store.writing(store) as opened:
        ids = [row.id for row in opened.database.rows()]
        for image in ids[4:]:
            opened.remove(image)
    with client_of(store) as client:
        before = ask(client, copy_of(toy, 1)).json()
        toy_release(toy, some(toy, tmp_path / "new", slice(20, 36)), store)
        after = ask(client, copy_of(toy, 21)).json()
    assert before["reasons"] != after["reasons"]
    assert after["verdict"] == "match"


# Refusals


def test_who_may_ask(toy: Toy, store: Path) -> None:
    path = store / "tokens.json"
    with client_of(store) as client:
        assert ask(client, copy_of(toy, 1)).status_code == 200, "no token yet, and this machine alone"
        texts = {scope: add_token(path, scope, scope) for scope in (READ, ADMIN)}
        assert "Authorization: Bearer" in refused(ask(client, b"x"), 401, "no_token")
        wrong = ask(client, b"x", Authorization="Bearer nonsense")
        assert "unknown or was revoked" in refused(wrong, 401, "wrong_token")
        assert wrong.headers["www-authenticate"] == "Bearer"
        headers = {scope: {"Authorization": f"Bearer {text}"} for scope, text in texts.items()}
        told = ask(client, copy_of(toy, 1), **headers[READ]).json()
        address = f"/v1/images/{told['best']['id']}"
        assert client.get(address, headers=headers[READ]).json()["released"] is None
        assert client.get(address, headers=headers[READ]).json()["source"] is None
        assert client.get(address, headers=headers[ADMIN]).json()["released"] is not None
        assert str(store) not in json.dumps(told)
        refused(client.get("/metrics", headers=headers[READ]), 403, "scope")
        assert client.get("/metrics", headers=headers[ADMIN]).status_code == 200
        for closed in ("/v1/status", "/metrics", address, f"{address}/thumbnail"):
            refused(client.get(closed), 401, "no_token")
        assert client.get("/healthz").status_code == 200
        revoke_token(path, READ)
        refused(client.get("/v1/status", headers=headers[READ]), 401, "wrong_token")


def test_a_service_that_others_reach_asks_for_tokens_when_it_has_none(toy: Toy, store: Path) -> None:
    with client_of(store, host="0.0.0.0") as client:
        refused(ask(client, copy_of(toy, 1)), 401, "no_token")


def test_another_host_name_is_refused(unchanged: Path) -> None:
    with client_of(unchanged, called="evil.example") as client:
        assert "--allowed_hosts evil.example" in refused(client.get("/healthz"), 400, "host")
    with client_of(unchanged, called="match.example", allowed_hosts="match.example") as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/healthz", headers={"Host": "[::1]:8000"}).status_code == 200
        assert client.get("/healthz", headers={"Host": "[::2]:8000"}).status_code == 400


def test_what_is_no_image_is_refused_with_a_reason(toy: Toy, client: Any) -> None:
    whole = photo(toy, 1).read_bytes()
    assert "can't be read" in refused(ask(client, whole[: len(whole) // 2]), 422, "unreadable")
    assert "not a readable image" in refused(ask(client, b"text"), 422, "unreadable")
    assert "holds no image" in refused(ask(client, b""), 400, "empty")
    answer = client.post("/v1/query", json={"url": "http://169.254.169.254/"})
    assert "URLs are not fetched" in refused(answer, 415, "content_type")
    assert "is missing" in refused(client.post("/v1/query", content=b"x"), 415, "content_type")


def test_forms_without_the_image_are_refused(client: Any) -> None:
    refused(client.post("/v1/query", files={"other": b"x"}), 400, "form")
    refused(client.post("/v1/query", files={"note": (None, b"x")}), 400, "form")
    refused(client.post("/v1/query", files=[("image", b"x"), ("image", b"y")]), 400, "form")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = client.post("/v1/query", content=b"--y\r\n\r\n", headers={"Content-Type": kind})
        refused(answer, 400, "form")


def test_parameters_and_addresses_that_do_not_exist(client: Any) -> None:
    refused(client.get("/v1/images/12345"), 404, "not_found")
    refused(client.get(f"/v1/images/{1 << 80}"), 404, "not_found")
    refused(client.get("/v1/images/cat"), 422, "parameter")
    refused(client.get("/v1/images/1/thumbnail?edge=100000"), 422, "parameter")
    refused(client.get("/v2/query"), 404, "http")
    refused(client.get("/v1/query"), 405, "http")


def test_size_and_pixels_are_limited(unchanged: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    with client_of(unchanged, max_mb=1, max_megapixels=1) as client:
        assert "limit of 1 MB" in refused(ask(client, png(noise)), 413, "too_large")
        refused(client.post("/v1/query", files={"image": png(noise)}), 413, "too_large")
        told = refused(ask(client, png(np.zeros((1001, 1000, 3), np.uint8))), 413, "too_many_pixels")
        assert "1000x1001 is more than the limit of 1,000,000 pixels" in told
        assert ask(client, png(np.zeros((1000, 1000, 3), np.uint8))).status_code == 200


def test_a_slow_upload_is_cut_off() -> None:
    class Slow:
        headers: ClassVar[dict[str, str]] = {"content-type": "image/png"}

        async def stream(self) -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0.05)

    with pytest.raises(Refusal, match=r"took more than 0.2 s") as caught:
        asyncio.run(image_of(Slow(), 1000, 0.2, lambda _: None))
    assert caught.value.status == 408


def test_slow_clients_hold_nobody_up(toy: Toy, unchanged: Path) -> None:
    head = "POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    with listening(unchanged, concurrent=1) as address:
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        slow = [socket.create_connection((host, int(port))) for _ in range(20)]
        for line in slow:
            line.sendall(f"{head}Content-Length: 9000\r\n\r\n".encode() + b"\x89PNG")
        request = urllib.request.Request(f"{address}v1/query", copy_of(toy, 1), PNG)
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["verdict"] == "match"
        for line in slow:
            line.close()


def test_the_memory_for_uploads_is_bounded(unchanged: Path) -> None:
    noise = png(np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8))
    with client_of(unchanged, max_mb=1, concurrent=1) as client:
        room = client.app.state.engine.room
        assert 500_000 < len(noise) < 1_000_000
        with room.taken() as take:
            take(500_000)
            told = ask(client, noise)
            assert "memory for uploads is used up" in refused(told, 429, "busy")
            assert told.headers["retry-after"] == "1"
        assert ask(client, noise).status_code == 200
        assert room._held == 0, "all was given back, by the refused one too"


def test_more_requests_than_may_be_in_hand_are_told_to_come_again(
    toy: Toy, unchanged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, go = copy_of(toy, 1), threading.Event()
    read = engine_module.read_bytes
    monkeypatch.setattr(engine_module, "read_bytes", lambda *given: go.wait(20) and read(*given))
    with client_of(unchanged, concurrent=2, queue_seconds=1) as client:
        answers: list[Any] = []
        threads = [threading.Thread(target=lambda: answers.append(ask(client, content))) for _ in range(2)]
        for thread in threads:
            thread.start()
        while client.app.state.engine._in_hand < 2:
            time.sleep(0.01)
        third = ask(client, content)
        assert "2 requests are in hand" in refused(third, 429, "busy")
        assert third.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200, "health needs no turn"
        while not answers:  # the second one waits for the thread in vain
            time.sleep(0.01)
        assert "no core became free within 1 s" in refused(answers[0], 429, "busy")
        go.set()
        for thread in threads:
            thread.join()
        assert answers[1].json()["verdict"] == "match"
        assert ask(client, content).status_code == 200


def test_a_released_file_that_is_gone_is_told(toy: Toy, store: Path) -> None:
    with client_of(store) as client:
        best = ask(client, copy_of(toy, 4)).json()["best"]
        (store / "released" / best["name"]).unlink()
        assert "store verify" in refused(client.get(best["thumbnail"]), 404, "no_file")


def test_a_store_that_breaks_is_told_without_its_path(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with client_of(store) as client:
        with sqlite3.connect(store / "store.sqlite") as connection:
            connection.execute("ALTER TABLE images RENAME TO pictures")
        connection.close()
        told = refused(client.get("/healthz"), 503, "store")
    assert "the log of the service says why" in told
    assert str(store) in caplog.text


# What stays behind


def test_uploads_never_touch_the_disk(unchanged: Path) -> None:
    noise = png(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8))
    assert len(noise) > 2_000_000
    written: list[str] = []

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if watching and event == "open" and (given[2] or 0) & 0o3:
            written.append(str(given[0]))
        if watching and event.startswith("tempfile."):
            written.append(event)

    watching = False
    sys.addaudithook(watch)
    with client_of(unchanged) as client:
        watching = True
        assert client.post("/v1/query", files={"image": ("x.png", noise)}).status_code == 200
        assert ask(client, noise).status_code == 200
        written_meanwhile = list(written)
        with tempfile.TemporaryFile():
            pass
        watching = False
    assert written_meanwhile == []
    assert written, "the hook sees files"


def test_the_log_is_json_without_names_and_addresses(
    toy: Toy, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = add_token(store / "tokens.json", "newsroom", READ)
    with caplog.at_level(logging.INFO, "active_indexing.service"), client_of(store) as client:
        answer = client.post(
            "/v1/query?secret=1",
            files={"image": ("very-private.png", copy_of(toy, 1))},
            headers={"Authorization": f"Bearer {text}"},
        )
    records = [each for each in caplog.records if each.name == "active_indexing.service"]
    line = JsonLines().format(records[-1])
    told = json.loads(line)
    assert (told["method"], told["route"], told["status"], told["verdict"], told["token"]) == (
        "POST", "/v1/query", 200, "match", "newsroom",
    )  # fmt: skip
    assert told["request"] == answer.headers["x-request-id"]
    assert {"time", "level", "event", "ms", "bytes"} <= told.keys()
    assert "private" not in line
    assert text not in line
    assert "secret" not in line


def test_every_answer_forbids_what_a_page_does_not_need(client: Any) -> None:
    for answer in (client.get("/healthz"), client.get("/nowhere")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
