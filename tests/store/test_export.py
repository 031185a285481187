from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from active_indexing.index.code_index import Codec
from active_indexing.index.vector_index import new_index
from active_indexing.store.archive import Store
from active_indexing.store.export import export
from tests.store.made_up import DIM, filled, new_image, unit


def encoded(vectors: np.ndarray, folder: Path) -> np.ndarray:
    """Codes made from the exported arrays alone, as another engine would."""
    about = json.loads((folder / "contract.json").read_text())["codec"]
    arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    moved = vectors
    for step in range(sum(name.endswith("_matrix") for name in arrays)):
        moved = moved @ arrays[f"transform_{step}_matrix"].T + arrays[f"transform_{step}_bias"]
    centroids = arrays["centroids"]
    cells = np.square(moved[:, None] - centroids[None]).sum(-1).argmin(1)
    residuals = moved - centroids[cells] if about["by_residual"] else moved
    pq, books = about["pq"], arrays["codebooks"]
    bits = np.zeros((len(vectors), pq["M"] * pq["nbits"]), np.uint8)
    for part in range(pq["M"]):
        piece = residuals[:, part * pq["dsub"] : (part + 1) * pq["dsub"]]
        rows = np.square(piece[:, None] - books[part][None]).sum(-1).argmin(1)
        for bit in range(pq["nbits"]):
            bits[:, part * pq["nbits"] + bit] = rows >> bit & 1
    cell_bytes = (cells[:, None] >> (8 * np.arange(about["cell_bytes"]))) & 255
    return np.concatenate([cell_bytes.astype(np.uint8), np.packbits(bits, axis=1, bitorder="little")], axis=1)


def test_cells_and_codes_can_be_made_from_the_exported_arrays_alone(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store", 30, entries=2)
    with Store(folder) as store:
        told = export(store, tmp_path / "out")
    assert told.images == 30
    assert told.entries == 60
    out = tmp_path / "out"
    ids, descriptors = np.load(out / "ids.npy"), np.load(out / "descriptors.npy")
    entry_ids, codes = np.load(out / "entry_ids.npy"), np.load(out / "codes.npy")
    images = [new_image(folder, seed, 2, write=False) for seed in range(30)]
    assert ids.tolist() == [image.id for image in images]
    np.testing.assert_allclose(descriptors, [image.descriptor for image in images], atol=3e-4)
    assert entry_ids.tolist() == np.repeat(ids, 2).tolist()
    made = encoded(np.concatenate([image.entries for image in images]), out)
    assert np.array_equal(made, codes)


@pytest.mark.parametrize("factory", ["IVF8,PQ4x4np", "OPQ8_16,IVF8,PQ8x4np", "PCA16,IVF8,PQ4x6np"])
def test_transforms_are_exported_as_matrices(tmp_path: Path, factory: str) -> None:
    index = new_index(factory, "L2", DIM)
    index.train(unit(600, 0))
    codec = Codec(index.to_bytes())
    for name, array in codec.trained_arrays().items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "contract.json").write_text(json.dumps({"codec": codec.description()}))
    vectors = unit(200, 7)
    same = (encoded(vectors, tmp_path) == codec.encode(vectors)).all(axis=1)
    assert same.mean() > 0.98, "but for ties in float32"


def test_the_table_of_images_holds_every_row(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = filled(tmp_path / "store", 5)
    with Store.writing(folder) as store:
        store.remove(new_image(folder, 2, write=False).id)
        assert export(store, tmp_path / "out").parquet
    table = parquet.read_table(tmp_path / "out" / "images.parquet").to_pydict()
    expected = [new_image(folder, seed, write=False) for seed in (0, 1, 3, 4)]
    assert table["id"] == [image.id for image in expected]
    assert table["released_sha256"] == [image.released_sha256 for image in expected]
    np.testing.assert_allclose(table["descriptor"], [image.descriptor for image in expected], atol=3e-4)
    with Store(folder) as store:
        assert table["codes"] == [store.codec.encode(image.entries).tobytes() for image in expected]
