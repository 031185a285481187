"""The Soft Binding Resolution API: from a copy without Content Credentials to its manifest."""

from __future__ import annotations

import base64
import io
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="pip install 'active-indexing[service]' brings it")
pytest.importorskip("c2pa", reason="pip install 'active-indexing[c2pa]' brings it")

import c2pa

from active_indexing.integrations.c2pa_fingerprint import ALGORITHM, MOST_DIMENSIONS, Fingerprint, for_query
from active_indexing.integrations.c2pa_signing import Credentials
from active_indexing.service.soft_binding import MOST_VALUE, PREFIX, WELL_KNOWN
from active_indexing.service.tokens import READ, add_token
from active_indexing.store.archive import Store
from active_indexing.store.manifests import manifest_ids
from active_indexing.store_run import release
from tests.conftest import Toy
from tests.integrations.certificates import written
from tests.service.test_api import refused
from tests.service.worlds import client_of, copy_of, filled, photo
from tests.store.worlds import some, toy_config

ROOT = Path(__file__).parents[2]
BY_BINDING, BY_CONTENT = f"{PREFIX}/matches/byBinding", f"{PREFIX}/matches/byContent"
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def store(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images without credentials and five with."""
    folder = tmp_path_factory.mktemp("soft_binding")
    store = filled(toy, folder / "store")
    credentials = Credentials.read(*written(folder / "certificates"))
    release(toy_config(toy, some(toy, folder / "photos", slice(20, 25))), store, credentials=credentials)
    return store


@pytest.fixture(scope="module")
def client(store: Path) -> Iterator[Any]:
    with client_of(store) as client:
        yield client


def kept(store: Path, place: int) -> tuple[str, str, bytes]:
    """Id of the manifest of an image of the toy world, its binding as a query, its released file."""
    with Store(store) as opened:
        row = opened.database.images_at([place + 1])[0]
        manifest = manifest_ids(opened.database, [row.id])[row.id]
        vector = opened.database.descriptors([row.id])[row.id][0]
        own = Fingerprint.of(opened.contract.descriptor["fingerprint"], vector)
        return manifest, for_query(own), row.path(store).read_bytes()


# From a binding, and from an image


def test_a_binding_finds_its_manifest_by_both_methods(store: Path, client: Any) -> None:
    manifest, value, _ = kept(store, 21)
    for answer in (
        client.get(BY_BINDING, params={"alg": ALGORITHM, "value": value}),
        client.post(BY_BINDING, json={"alg": ALGORITHM, "value": value}),
    ):
        assert answer.status_code == 200
        matches = answer.json()["matches"]
        assert matches[0] == {"manifestId": manifest, "similarityScore": 100}
        scores = [each["similarityScore"] for each in matches]
        assert scores == sorted(scores, reverse=True)
        assert all(score < 100 for score in scores[1:])
    one = client.get(BY_BINDING, params={"alg": ALGORITHM, "value": value, "maxResults": 1}).json()
    assert one["matches"] == matches[:1]


def test_a_copy_without_credentials_finds_the_manifest_and_the_manifest_is_whole(
    toy: Toy, store: Path, client: Any
) -> None:
    manifest, value, released = kept(store, 22)
    stripped = copy_of(toy, 22)
    assert b"c2pa" not in stripped
    (match, *_) = client.post(BY_CONTENT, content=stripped, headers=PNG).json()["matches"]
    assert match["manifestId"] == manifest
    assert 50 <= match["similarityScore"] <= 99
    fetched = client.get(f"{PREFIX}/manifests/{manifest}")
    assert fetched.headers["content-type"] == "application/c2pa"
    assert fetched.content in released
    with c2pa.Reader("image/png", io.BytesIO(stripped), fetched.content) as reader:
        active = reader.get_active_manifest()
    (binding,) = (each for each in active["assertions"] if each["label"] == "c2pa.soft-binding")
    assert binding["data"]["blocks"][0]["value"] == base64.b64decode(value).decode()


def test_the_very_bytes_have_the_score_100(toy: Toy, store: Path, client: Any) -> None:
    manifest, _, released = kept(store, 23)
    for content in (released, photo(toy, 23).read_bytes()):
        answer = client.post(BY_CONTENT, content=content, headers=PNG).json()
        assert answer == {"matches": [{"manifestId": manifest, "similarityScore": 100}]}


def test_images_without_a_manifest_are_no_match(toy: Toy, client: Any) -> None:
    assert client.post("/v1/query", content=copy_of(toy, 3), headers=PNG).json()["verdict"] == "match"
    found = client.post(BY_CONTENT, content=copy_of(toy, 3), headers=PNG).json()["matches"]
    assert all(match["similarityScore"] < 100 for match in found)
    assert client.post(BY_CONTENT, content=photo(toy, 3).read_bytes(), headers=PNG).json() == {"matches": []}


def test_a_hint_is_another_view(toy: Toy, store: Path, client: Any) -> None:
    manifest, value, _ = kept(store, 24)
    noise = io.BytesIO()
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(noise, "PNG")
    asked = {"params": {"hintAlg": ALGORITHM, "hintValue": value}, "content": noise.getvalue()}
    with_hint = client.post(BY_CONTENT, headers=PNG, **asked).json()["matches"]
    assert with_hint[0] == {"manifestId": manifest, "similarityScore": 100}
    foreign = {"params": {"hintAlg": "com.example.other", "hintValue": "x"}, "content": noise.getvalue()}
    without = client.post(BY_CONTENT, headers=PNG, **foreign).json()["matches"]
    assert all(match["similarityScore"] < 100 for match in without)


def test_what_is_removed_is_found_no_more(toy: Toy, tmp_path: Path) -> None:
    store = filled(toy, tmp_path / "store")
    credentials = Credentials.read(*written(tmp_path / "certificates"))
    (row,) = release(
        toy_config(toy, some(toy, tmp_path / "photos", slice(20, 21))), store, credentials=credentials
    ).released
    manifest, value, _ = kept(store, 20)
    with client_of(store) as client:
        query = {"alg": ALGORITHM, "value": value}
        assert client.get(BY_BINDING, params=query).json()["matches"][0]["manifestId"] == manifest
        with Store.writing(store) as opened:
            opened.remove(row.id)
        assert client.get(BY_BINDING, params=query).json() == {"matches": []}
        refused(client.get(f"{PREFIX}/manifests/{manifest}"), 404, "not_found")


# Refusals


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"alg": "com.example.other", "value": "x"}, "is not known here"),
        ({"alg": ALGORITHM, "value": "%"}, "the value is not base64"),
        ({"alg": ALGORITHM, "value": "aGVsbG8="}, "not of the form"),
        (
            {"alg": ALGORITHM, "value": for_query(Fingerprint.of("0" * 64, np.eye(64)[0]))},
            "made by the network",
        ),
        ({"alg": ALGORITHM}, "value"),
        ({"value": "x"}, "alg"),
    ],
)
def test_bindings_that_can_not_be_asked_about(client: Any, query: dict[str, str], told: str) -> None:
    for answer in (client.get(BY_BINDING, params=query), client.post(BY_BINDING, json=query)):
        assert answer.status_code == 400
        assert told in answer.json()["error"]["message"]


def test_other_requests_that_are_refused(toy: Toy, client: Any) -> None:
    long = {"alg": ALGORITHM, "value": "A" * (MOST_VALUE + 1)}
    refused(client.get(BY_BINDING, params=long), 414, "too_long")
    refused(client.post(BY_BINDING, json=long), 400, "binding")
    refused(client.post(BY_BINDING, content=b"x" * (3 * MOST_VALUE)), 413, "too_large")
    refused(client.post(BY_BINDING, content=b"{"), 400, "binding")
    refused(
        client.get(BY_BINDING, params={"alg": ALGORITHM, "value": "x", "maxResults": 0}), 400, "parameter"
    )
    refused(
        client.post(BY_CONTENT, content=b"x", headers={"Content-Type": "audio/mpeg"}), 415, "content_type"
    )
    refused(client.post(BY_CONTENT, content=b"x", headers=PNG), 422, "unreadable")
    refused(
        client.post(BY_CONTENT, params={"alg": "other"}, content=copy_of(toy, 1), headers=PNG),
        400,
        "algorithm",
    )
    hint = {"hintAlg": ALGORITHM, "hintValue": "x"}
    refused(client.post(BY_CONTENT, params=hint, content=copy_of(toy, 1), headers=PNG), 400, "binding")
    longest = for_query(Fingerprint.of("0" * 64, np.eye(1, MOST_DIMENSIONS)[0]))
    assert len(longest) <= MOST_VALUE


def test_queries_need_a_token_where_there_are_tokens_and_services_do_not(toy: Toy, tmp_path: Path) -> None:
    store = filled(toy, tmp_path / "store")
    text = add_token(store / "tokens.json", "validator", READ)
    bearer = {"Authorization": f"Bearer {text}"}
    with client_of(store) as client:
        for method, address in (
            ("GET", f"{BY_BINDING}?alg={ALGORITHM}&value=x"),
            ("POST", BY_BINDING),
            ("POST", BY_CONTENT),
            ("GET", f"{PREFIX}/manifests/urn:c2pa:x"),
        ):
            refused(client.request(method, address), 401, "no_token")
            refused(
                client.request(method, address, headers={"Authorization": "Bearer x"}), 401, "wrong_token"
            )
        refused(client.get(f"{PREFIX}/manifests/urn:c2pa:x", headers=bearer), 404, "not_found")


# What the public conformance harness looks at in a service that is only read
# (@cognitiveproof/softbinding-api-conformance 1.0.0, by its own words)


def test_the_services_answer_everybody_in_the_documented_form(client: Any) -> None:
    algorithms = client.get(f"{PREFIX}/services/supportedAlgorithms").json()
    assert algorithms == {"watermarks": [], "fingerprints": [{"alg": ALGORITHM}]}
    capabilities = client.get(f"{PREFIX}/services/capabilities").json()
    assert capabilities["supportedCapabilities"] == ["queryByContent"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", capabilities["c2paSpecificationVersion"])
    assert client.get(f"{PREFIX}/services/status").json()["status"] == "ok"
    known = client.get(WELL_KNOWN).json()
    assert known["c2paSpecificationVersion"] == capabilities["c2paSpecificationVersion"]
    assert known["apiEndpoint"] == f"http://localhost{PREFIX}"
    secure = client.get(WELL_KNOWN, headers={"X-Forwarded-Proto": "https"}).json()
    assert secure["statusEndpoint"] == f"https://localhost{PREFIX}/services/status"
    assert client.get(f"{PREFIX}/manifests/urn:c2pa:conformance-does-not-exist").status_code == 404


def test_a_store_that_breaks_is_down(toy: Toy, tmp_path: Path) -> None:
    store = filled(toy, tmp_path / "store")
    with client_of(store) as client:
        with sqlite3.connect(store / "store.sqlite") as connection:
            connection.execute("ALTER TABLE images RENAME TO pictures")
        connection.close()
        assert client.get(f"{PREFIX}/services/status").json()["status"] == "down"


def test_every_answer_is_as_the_description_says(client: Any) -> None:
    """Requests made up from our OpenAPI document, each answer held to it."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [content_type_conformance, response_schema_conformance, status_code_conformance]
    schema = schemathesis.openapi.from_dict(client.app.openapi())
    asked = set()
    for result in schema.include(path_regex="c2pa").get_all_operations():
        operation = result.ok()

        @given(operation.as_strategy())
        @settings(
            max_examples=15, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def every(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url="http://localhost")
            sent |= {"content": sent.pop("data", None), "cookies": None}
            case.validate_response(client.request(**sent), checks=checks)

        every()
        asked.add(operation.path)
    assert len(asked) == 7


# The entry for the list of algorithms

REVERSED_DOMAIN = r"^[A-Za-z]{2,63}(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+\.?$"
URI = {"type": "string", "format": "uri", "pattern": "^https://"}
# What the list asks of an entry (c2pa-org/softbinding-algorithm-list), in our words.
ENTRY = {
    "type": "object",
    "required": ["identifier", "alg", "type", "decodedMediaTypes", "entryMetadata"],
    "additionalProperties": False,
    "properties": {
        "identifier": {"type": "integer", "minimum": 0, "maximum": 65535},
        "alg": {"type": "string", "pattern": REVERSED_DOMAIN},
        "type": {"enum": ["watermark", "fingerprint"]},
        "decodedMediaTypes": {
            "type": "array",
            "minItems": 1,
            "items": {"enum": ["application", "audio", "image", "model", "text", "video"]},
        },
        "entryMetadata": {
            "type": "object",
            "required": ["description", "dateEntered", "contact", "informationalUrl"],
            "additionalProperties": False,
            "properties": {
                "description": {"type": "string", "minLength": 20},
                "dateEntered": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
                "contact": {"type": "string", "pattern": "^[^@ ]+@[^@ ]+$"},
                "informationalUrl": URI,
            },
        },
        "softBindingResolutionApis": {"type": "array", "items": URI},
    },
}


def test_the_entry_for_the_list_is_valid_and_ours() -> None:
    entry = json.loads((ROOT / "docs" / "c2pa_algorithm.json").read_text())
    jsonschema.validate(entry, ENTRY)
    assert (entry["alg"], entry["type"], entry["decodedMediaTypes"]) == (ALGORITHM, "fingerprint", ["image"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(entry | {"alg": "active indexing"}, ENTRY)
