"""A store from Python: pictures in every form go in, typed answers come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import active_indexing
from active_indexing.store.errors import StoreError
from tests.conftest import Toy
from tests.store.worlds import some


@pytest.fixture
def settings(toy: Toy) -> dict[str, object]:
    return {
        "active": False, "workers": 1, "model_name": "torchscript", "model_path": toy.model,
        "resize_size": toy.size, "fts_training_path": toy.training, "idx_factory": "IVF8,PQ8x4np",
        "idx_dir": toy.model.parent / "indexes",
    }  # fmt: skip


def pixels(toy: Toy, place: int) -> np.ndarray:
    with Image.open(sorted(toy.images.glob("*.png"))[place]) as image:
        return np.asarray(image.convert("RGB"))


def test_pictures_in_every_form_are_released_and_known_again(
    toy: Toy, tmp_path: Path, settings: dict[str, object]
) -> None:
    path = sorted(toy.images.glob("*.png"))[0]
    forms = {
        "in/array.png": pixels(toy, 1), "pillow.png": Image.fromarray(pixels(toy, 2)),
        "bytes.png": sorted(toy.images.glob("*.png"))[3].read_bytes(),
        "tensor.png": torch.from_numpy(pixels(toy, 4).copy()).permute(2, 0, 1),
    }  # fmt: skip
    with active_indexing.ReleaseStore(tmp_path / "store") as store:
        made = store.release({"path.png": path, **forms}, **settings)
        assert sorted(row.released for row in made.released) == [
            f"released/{name}" for name in sorted([*forms, "path.png"])
        ]
        assert {row.source for row in made.released} == {str(path), *forms}
        again = store.release([path, *forms.values()])  # what is frozen comes from the store
        assert (len(again.known), again.released, again.skipped) == (5, [], [])
        (unnamed,) = store.release(pixels(toy, 5)).released
        assert unnamed.released == f"released/{unnamed.id:x}.png"
        assert store.status().released == 6
        assert [answer.verdict for answer in store.query([path, forms["bytes.png"]])] == ["match", "match"]
        answer = store.query(forms["in/array.png"][:-2, :-1])
        assert answer.best.released.endswith("in/array.png")
        assert store.verify().damage == []


def test_the_commands_are_methods_with_typed_results(
    toy: Toy, tmp_path: Path, settings: dict[str, object]
) -> None:
    folder = some(toy, tmp_path / "photos", slice(0, 10))
    with active_indexing.ReleaseStore(tmp_path / "store", false_positive_rate=0.05) as store:
        ids = [row.id for row in store.release(folder, **settings).released]
        told = store.status()
        assert (told.released, told.removed, told.method, told.last_run.released) == (10, 0, "passive", 10)
        index = store.rebuild()
        content = index.read_bytes()
        assert store.status().index_file == index
        index.write_bytes(b"x")
        assert [(each.done, each.possible) for each in store.repair()] == [(False, True)]
        assert [each.done for each in store.repair(apply=True)] == [True]
        assert (index.read_bytes(), store.repair()) == (content, [])
        made = store.calibrate([pixels(toy, place) for place in range(20, 32)])
        assert (made.calibration.source, made.rate, made.interval) == ("non-matching queries", 0.05, None)
        assert "12 foreign images: a match scores above" in str(made)
        assert store.query(folder / "00.png").best.id in ids
        removed = store.remove([ids[0], 5])
        assert (removed[ids[0]].id, removed[5]) == (ids[0], None)
        assert store.images([ids[0]])[0].status == "removed"
        assert store.export(tmp_path / "out").images == 9


def test_what_can_not_be_is_said(toy: Toy, tmp_path: Path, settings: dict[str, object]) -> None:
    store = active_indexing.ReleaseStore(tmp_path / "store")
    assert repr(store).endswith("store')")
    with pytest.raises(FileNotFoundError, match="no store"):
        store.query(pixels(toy, 0))
    for name in ("../outside.png", "/outside.png"):
        with pytest.raises(ValueError, match="inside the store's folder"):
            store.release({name: pixels(toy, 0)}, **settings)
    with pytest.raises(TypeError, match="got a int"):
        store.release([7], **settings)
    with pytest.raises(ValueError, match=r"below 0\.5"):
        active_indexing.ReleaseStore(tmp_path, false_positive_rate=2)
    store.release(pixels(toy, 0), **settings)
    with pytest.raises(StoreError, match="--entries"):
        store.release(pixels(toy, 1), **settings, entries=3)
