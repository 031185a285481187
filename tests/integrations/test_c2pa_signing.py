"""Files signed by certificates of a test, and read back by the library of the standard."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("c2pa", reason="pip install 'active-indexing[c2pa]' brings it")

import c2pa
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from active_indexing.cli import main
from active_indexing.images.any_image import srgb_of
from active_indexing.integrations.c2pa_fingerprint import ALGORITHM, Fingerprint, parse
from active_indexing.integrations.c2pa_signing import Credentials, Signing
from active_indexing.release import into_store
from active_indexing.release.signing import SigningError
from active_indexing.store.archive import Store
from active_indexing.store.manifests import manifest_content, manifest_ids
from active_indexing.store.verify import verify
from active_indexing.store_run import release
from tests.conftest import Toy
from tests.integrations.certificates import written
from tests.service.worlds import filled
from tests.store.worlds import some, toy_config, toy_release


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return written(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def credentials(files: tuple[Path, Path]) -> Credentials:
    return Credentials.read(*files)


def told(path: Path) -> tuple[str, dict[str, Any]]:
    """Validation state and active manifest of a file."""
    with c2pa.Reader(path) as reader:
        return str(reader.get_validation_state()), dict(reader.get_active_manifest() or {})


def assertion(manifest: dict[str, Any], label: str) -> Any:
    (data,) = (each["data"] for each in manifest["assertions"] if each["label"].startswith(label))
    return data


def signed_store(toy: Toy, folder: Path, credentials: Credentials, **settings: Any) -> Path:
    config = toy_config(toy, some(toy, folder / "photos", slice(0, 3)), **settings)
    assert len(release(config, folder / "store", frozen=False, credentials=credentials).released) == 3
    return folder / "store"


def test_a_release_signs_and_the_store_keeps_what_the_file_carries(
    toy: Toy, tmp_path: Path, credentials: Credentials
) -> None:
    store = signed_store(toy, tmp_path, credentials)
    toy_release(toy, tmp_path / "photos", tmp_path / "plain")
    with Store(store) as opened:
        rows = list(opened.database.rows())
        ids = manifest_ids(opened.database, [row.id for row in rows])
        assert len(set(ids.values())) == 3
        for row in rows:
            path = row.path(store)
            state, manifest = told(path)
            assert (state, manifest["label"]) == ("Valid", ids[row.id])
            assert manifest_content(opened.database, ids[row.id]) in path.read_bytes()
            binding = assertion(manifest, "c2pa.soft-binding")
            assert binding["alg"] == ALGORITHM
            (block,) = binding["blocks"]
            stored = opened.database.descriptors([row.id])[row.id][0]
            own = Fingerprint.of(opened.contract.descriptor["fingerprint"], stored)
            assert block == {"scope": {}, "value": own.text()}
            actions = [each["action"] for each in assertion(manifest, "c2pa.actions")["actions"]]
            assert actions == ["c2pa.opened", "c2pa.edited"]
            assert [each["relationship"] for each in manifest["ingredients"]] == ["parentOf"]
            assert "thumbnail" not in json.dumps(manifest)
            np.testing.assert_array_equal(srgb_of(path)[0], srgb_of(tmp_path / "plain" / row.released)[0])
        assert verify(opened, record=False).damage == []


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_other_formats_are_signed_too(
    toy: Toy, tmp_path: Path, credentials: Credentials, format: str
) -> None:
    store = signed_store(toy, tmp_path, credentials, save_format=format)
    with Store(store) as opened:
        for row in opened.database.rows():
            assert told(row.path(store))[0] == "Valid"


def test_credentials_of_the_source_stay_as_those_of_the_parent(
    toy: Toy, tmp_path: Path, credentials: Credentials
) -> None:
    first = signed_store(toy, tmp_path, credentials)
    (tmp_path / "again").mkdir()
    source = sorted((first / "released").iterdir())[0]
    shutil.copy(source, tmp_path / "again")
    config = toy_config(toy, tmp_path / "again")
    (row,) = release(config, tmp_path / "second", frozen=False, credentials=credentials).released
    _, manifest = told(row.path(tmp_path / "second"))
    (parent,) = manifest["ingredients"]
    assert parent["title"] == source.name
    assert parent["active_manifest"] == told(source)[1]["label"]


def test_what_is_removed_takes_its_manifest_along(toy: Toy, tmp_path: Path, credentials: Credentials) -> None:
    store = signed_store(toy, tmp_path, credentials)
    with Store.writing(store) as opened:
        row = next(opened.database.rows())
        name = manifest_ids(opened.database, [row.id])[row.id]
        assert manifest_content(opened.database, name)
        opened.remove(row.id)
        assert manifest_content(opened.database, name) is None
        assert manifest_ids(opened.database, [row.id]) == {}
    raw = b"".join(path.read_bytes() for path in store.glob("store.sqlite*"))
    assert name.encode() not in raw, "secure_delete"


def test_a_manifest_that_changed_is_told(toy: Toy, tmp_path: Path, credentials: Credentials) -> None:
    store = signed_store(toy, tmp_path, credentials)
    with sqlite3.connect(store / "store.sqlite") as connection:
        connection.execute("UPDATE manifests SET content = x'00' WHERE seq = 2")
    connection.close()
    with Store(store) as opened:
        (damage,) = verify(opened, record=False).damage
    assert damage.how == "its C2PA manifest has changed"


def test_a_store_of_an_older_program_is_read_and_gets_the_table_when_written_to(
    toy: Toy, tmp_path: Path, credentials: Credentials
) -> None:
    store = filled(toy, tmp_path / "store")
    with sqlite3.connect(store / "store.sqlite") as connection:
        connection.execute("DROP TABLE manifests")
    connection.close()
    with Store(store) as opened:
        assert manifest_ids(opened.database, [1]) == {}
        assert manifest_content(opened.database, "urn:c2pa:x") is None
        assert verify(opened, record=False).damage == []
    config = toy_config(toy, some(toy, tmp_path / "photos", slice(20, 21)))
    (row,) = release(config, store, credentials=credentials).released
    with Store(store) as opened:
        assert list(manifest_ids(opened.database, [row.id])) == [row.id]


def test_a_file_that_can_not_be_signed_is_not_left_to_be_published(
    toy: Toy, tmp_path: Path, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> Any:
        raise SigningError("the hour is late")

    monkeypatch.setattr(Signing, "__call__", refused)
    config = toy_config(toy, some(toy, tmp_path / "photos", slice(0, 1)))
    outcome = release(config, tmp_path / "store", frozen=False, credentials=credentials)
    assert [reason for _, reason in outcome.skipped] == ["it can't be signed: the hour is late"]
    assert list((tmp_path / "store" / "released").iterdir()) == []
    monkeypatch.undo()
    assert len(release(config, tmp_path / "store", credentials=credentials).released) == 1


def test_a_release_killed_after_the_signature_is_done_again(
    toy: Toy, tmp_path: Path, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(into_store, "new_image", killed)
    config = toy_config(toy, some(toy, tmp_path / "photos", slice(0, 1)))
    with pytest.raises(KeyboardInterrupt):
        release(config, tmp_path / "store", frozen=False, credentials=credentials)
    monkeypatch.undo()
    (row,) = release(config, tmp_path / "store", credentials=credentials).released
    state, manifest = told(row.path(tmp_path / "store"))
    with Store(tmp_path / "store") as opened:
        assert (state, {row.id: manifest["label"]}) == ("Valid", manifest_ids(opened.database, [row.id]))
        assert verify(opened, record=False).damage == []


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
    ],
)
def test_keys_of_other_kinds_sign(tmp_path: Path, key: Any, name: str) -> None:
    assert Credentials.read(*written(tmp_path, key)).algorithm == name


def test_what_can_not_sign_is_told_before_any_work(
    toy: Toy, tmp_path: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    chain, key = files
    other = written(tmp_path / "other")[1]
    expired = written(tmp_path / "expired", days=-1)
    unusual = written(tmp_path / "unusual", ec.generate_private_key(ec.SECP256K1()))
    for given, told in [
        ((tmp_path / "none.pem", key), "No such file or directory"),
        ((key, chain), "give a chain of certificates and the private key of the first one"),
        ((chain, other), "can't be used to sign: "),
        (expired, "can't be used to sign: "),
        (unusual, "C2PA does not sign with secp256k1"),
    ]:
        argv = ["release", str(toy.images), "--store", str(tmp_path / "store"), "--c2pa", *map(str, given)]
        assert main.main(argv) == 2, told
        error = capsys.readouterr().err
        assert told in error
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_the_command_signs(toy: Toy, tmp_path: Path, files: tuple[Path, Path]) -> None:
    store, photos = filled(toy, tmp_path / "store"), some(toy, tmp_path / "photos", slice(20, 21))
    flags = ["--store", str(store), "--c2pa", *map(str, files), "--verbose", "0"]
    assert main.main(["release", str(photos), *flags]) == 0
    with Store(store) as opened:
        row = opened.database.images_at([21])[0]
        manifest = told(row.path(store))[1]
        assert manifest_ids(opened.database, [row.id]) == {row.id: manifest["label"]}
    text = assertion(manifest, "c2pa.soft-binding")["blocks"][0]["value"]
    assert parse(text).text() == text
    with Image.open(io.BytesIO(row.path(store).read_bytes())) as image:
        assert image.size == (row.width, row.height)
