from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from active_indexing.extraction.matrix_file import DescriptorMatrix
from active_indexing.index import files, preparation
from active_indexing.index.config import IndexConfig
from active_indexing.index.files import index_path, load, save
from active_indexing.index.preparation import PreparedIndex, prepare_index
from active_indexing.index.vector_index import IndexFileError, new_index
from tests.conftest import TOY_DIM, Toy

FACTORY = "IVF8,PQ4x4np"
MADE_BY = "fingerprint of the toy descriptor"
FACTORIES = [FACTORY, "OPQ8_16,IVF8,PQ8x4np", "PCA16,IVF8,PQ4x4np", "PCA16,LSH", "PQ4x4np"]
UNTRAINED = ["HNSW32", "Flat"]


@pytest.fixture
def config(toy: Toy, tmp_path: Path) -> IndexConfig:
    """Files of one test: training and references in folders of their own, indexes in another."""
    for source in (toy.training, toy.references):
        shutil.copytree(source.parent, tmp_path / source.parent.name)
    return IndexConfig(
        fts_training_path=tmp_path / "training" / "fts.npy",
        fts_reference_path=tmp_path / "references" / "fts.npy",
        idx_dir=tmp_path / "indexes",
        idx_factory=FACTORY,
    )


@pytest.fixture(autouse=True)
def _few_training_descriptors_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "_warn_of_few", lambda index, rows: None)


def made(config: IndexConfig, *, descriptor: str = MADE_BY, seed: int = 0) -> PreparedIndex:
    return prepare_index(config, TOY_DIM, descriptor, seed=seed)


def answers(prepared: PreparedIndex, toy: Toy) -> list[list[int]]:
    return [found.ids.tolist() for found in prepared.index.search(np.load(toy.training)[:20], 5)]


def files_in(config: IndexConfig) -> list[str]:
    return sorted(path.name for path in config.idx_dir.rglob("*")) if config.idx_dir.exists() else []


def stored(config: IndexConfig) -> Path:
    return index_path(config.idx_dir, config.idx_factory, config.quant)


def rewrite(path: Path, matrix: np.ndarray) -> None:
    np.save(path, matrix.astype(np.float32))


@pytest.mark.parametrize(
    ("factory", "metric"),
    [
        (factory, metric)
        for factory in FACTORIES + UNTRAINED
        for metric in ("L2", "IP")
        if "LSH" not in factory or metric == "L2"  # FAISS has no LSH for inner products
    ],
)
def test_a_prepared_index_holds_every_reference_under_its_row_number(
    factory: str, metric: str, config: IndexConfig, toy: Toy
) -> None:
    config = replace(config, idx_factory=factory, quant=metric, nprobe=8)
    prepared = made(config)
    assert prepared.index.ntotal == 500
    assert prepared.first_reference == 0
    assert prepared.names == config.fts_reference_path.parent / "filenames.txt"
    found = prepared.index.search(np.load(toy.references)[:50], 20)
    hits = [row in each.ids for row, each in enumerate(found)]
    assert np.mean(hits) > 0.6
    assert all(0 <= id_ < 500 for each in found for id_ in each.ids)
    expected = (
        [] if factory in UNTRAINED else [f"idx={factory}_quant={metric}{e}" for e in (".index", ".json")]
    )
    assert files_in(config) == expected


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_second_run_reads_the_index_and_answers_the_same(
    factory: str, config: IndexConfig, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, idx_factory=factory)
    first, content = made(config), stored(config).read_bytes()
    monkeypatch.setattr(preparation.VectorIndex, "train", lambda *_: pytest.fail("trained again"))
    second = made(config)
    assert answers(first, toy) == answers(second, toy)
    assert first.inputs == second.inputs
    assert stored(config).read_bytes() == content


def test_the_file_on_disk_is_plain_faiss_and_holds_no_entries(config: IndexConfig) -> None:
    made(config)
    index = faiss.read_index(str(stored(config)))
    assert index.ntotal == 0
    assert index.is_trained
    side_car = json.loads(stored(config).with_suffix(".json").read_text())
    assert side_car["inputs"]["factory"] == FACTORY
    assert side_car["inputs"]["descriptor"] == MADE_BY


def test_references_read_in_pieces_give_the_same_answers(
    config: IndexConfig, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = answers(made(config), toy)
    chunks = DescriptorMatrix.chunks
    monkeypatch.setattr(DescriptorMatrix, "chunks", lambda self, rows=77: chunks(self, rows))
    assert answers(made(config), toy) == at_once


def test_torch_files_do_as_well_and_nprobe_is_set(config: IndexConfig, toy: Toy) -> None:
    import torch

    converted = {}
    for name in ("fts_training_path", "fts_reference_path"):
        path = getattr(config, name)
        torch.save(torch.from_numpy(np.load(path)), path.with_suffix(".pth"))
        converted[name] = path.with_suffix(".pth")
    expected = answers(made(replace(config, nprobe=4)), toy)
    assert expected != answers(made(replace(config, nprobe=1)), toy)
    other = replace(config, **converted, nprobe=4, idx_dir=config.idx_dir / "other")
    assert answers(made(other), toy) == expected


def test_without_references_the_index_is_empty(config: IndexConfig) -> None:
    prepared = made(replace(config, fts_reference_path=None))
    assert prepared.index.ntotal == 0
    assert prepared.names is None
    assert "references" not in prepared.inputs


def test_more_training_rows_than_are_of_use_are_sampled_by_the_seed(
    config: IndexConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("active_indexing.index.training_sizes.SAMPLE_FLOOR", 10)
    monkeypatch.setattr("active_indexing.index.training_sizes.MAX_POINTS_PER_CENTROID", 10)
    trained_from = []
    train = preparation.VectorIndex.train
    monkeypatch.setattr(
        preparation.VectorIndex, "train", lambda self, x: (trained_from.append(x), train(self, x))
    )
    made(config, seed=1)
    assert len(trained_from[0]) == 160
    with pytest.raises(IndexFileError, match="was made with another training_sample_seed than this run's"):
        made(config, seed=2)
    made(replace(config, idx_dir=config.idx_dir / "two"), seed=2)
    assert not np.array_equal(trained_from[0], trained_from[1])


def test_all_training_rows_are_used_when_they_are_few_and_the_seed_means_nothing(config: IndexConfig) -> None:
    first = made(config, seed=1).inputs
    assert made(config, seed=2).inputs == first
    assert "training_sample_seed" not in first


def test_few_training_descriptors_are_a_warning(
    config: IndexConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    made(config)
    warning = "warning: IVF8,PQ4x4np wants 624 training descriptors; 300 make a poor index.\n"
    assert capsys.readouterr().err == warning
    made(config)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("part", ["training", "references"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_row_is_told_and_nothing_is_written(part: str, value: float, config: IndexConfig) -> None:
    path = config.fts_training_path if part == "training" else config.fts_reference_path
    matrix = np.load(path)
    matrix[123, 4] = value
    rewrite(path, matrix)
    with pytest.raises(
        ValueError, match=rf"{part}.fts.npy: row 123 is zero or has a value that is not finite"
    ):
        made(config)
    assert files_in(config) == []


def test_too_few_training_descriptors_are_told_and_nothing_is_written(config: IndexConfig) -> None:
    rewrite(config.fts_training_path, np.load(config.fts_training_path)[:15])
    with pytest.raises(ValueError, match=r"needs at least 16 training descriptors .* got 15"):
        made(config)
    assert files_in(config) == []


@pytest.mark.parametrize("name", ["fts_training_path", "fts_reference_path"])
def test_another_length_is_told_and_nothing_is_written(name: str, config: IndexConfig) -> None:
    path = getattr(config, name)
    rewrite(path, np.load(path)[:, :32])
    with pytest.raises(
        ValueError, match="has descriptors of 32 dimensions, but this run's descriptor gives 64"
    ):
        made(config)
    assert files_in(config) == []


@pytest.mark.parametrize("name", ["fts_training_path", "fts_reference_path"])
def test_descriptors_of_another_model_are_told_and_nothing_is_written(name: str, config: IndexConfig) -> None:
    side_car = getattr(config, name).with_suffix(".json")
    side_car.write_text(json.dumps({"descriptor_fingerprint": "another"}))
    with pytest.raises(ValueError, match="was extracted with another descriptor than this run's"):
        made(config)
    assert files_in(config) == []
    side_car.write_text(json.dumps({"descriptor_fingerprint": MADE_BY}))
    made(config)


def test_names_that_do_not_fit_are_told_and_nothing_is_written(config: IndexConfig) -> None:
    (config.fts_reference_path.parent / "filenames.txt").write_text("only one\n")
    with pytest.raises(ValueError, match=r"has 1 lines but fts.npy has 500 rows"):
        made(config)
    assert files_in(config) == []


def test_a_missing_file_is_named(config: IndexConfig) -> None:
    with pytest.raises(FileNotFoundError, match=r"no descriptor file .*absent.npy"):
        made(replace(config, fts_training_path=config.idx_dir / "absent.npy"))


REMEDY = r"Move idx=.*\.index and its \.json away \(or choose another --idx_dir\)"


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def damage_flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_foreign(path: Path) -> None:
    faiss.write_index(faiss.IndexFlatL2(TOY_DIM), str(path))


def damage_no_side_car(path: Path) -> None:
    path.with_suffix(".json").unlink()


def damage_side_car(path: Path) -> None:
    path.with_suffix(".json").write_text('{"inputs": ')


def damage_side_car_list(path: Path) -> None:
    path.with_suffix(".json").write_text('{"inputs": 3, "sha256": ""}')


def damage_side_car_bytes(path: Path) -> None:
    path.with_suffix(".json").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_truncate, "was truncated or changed after it was written"),
        (damage_flip, "was truncated or changed after it was written"),
        (damage_foreign, "was truncated or changed after it was written"),
        (damage_no_side_car, r"has no idx=.*\.json that says what made it"),
        (damage_side_car, r"\.json is damaged"),
        (damage_side_car_list, r"\.json is damaged"),
        (damage_side_car_bytes, r"\.json is damaged"),
    ],
)
def test_a_damaged_or_foreign_index_is_never_used_nor_replaced(
    damage: object, reason: str, config: IndexConfig
) -> None:
    made(config)
    damage(stored(config))
    before = {name: (config.idx_dir / name).read_bytes() for name in files_in(config)}
    with pytest.raises(IndexFileError, match=rf"{reason}.*{REMEDY}"):
        made(config)
    assert {name: (config.idx_dir / name).read_bytes() for name in files_in(config)} == before


def test_an_index_of_something_else_is_never_used(config: IndexConfig) -> None:
    made(config)
    with pytest.raises(IndexFileError, match=rf"was made with another descriptor than this run's\. {REMEDY}"):
        made(config, descriptor="another")
    rewrite(config.fts_training_path, np.load(config.fts_training_path)[::-1])
    with pytest.raises(IndexFileError, match="was made with another training than this run's"):
        made(config)
    other = replace(config, quant="IP")
    shutil.copy(stored(config), stored(other))
    shutil.copy(stored(config).with_suffix(".json"), stored(other).with_suffix(".json"))
    with pytest.raises(IndexFileError, match="was made with another quant and training than this run's"):
        made(other)


def test_other_references_do_not_need_another_index(config: IndexConfig) -> None:
    first = made(config).inputs
    rewrite(config.fts_reference_path, np.load(config.fts_reference_path)[::-1])
    second = made(config).inputs
    assert first["references"] != second["references"]
    assert {**first, "references": 0} == {**second, "references": 0}


def test_a_trained_factory_without_training_descriptors_says_what_to_give(config: IndexConfig) -> None:
    with pytest.raises(
        ValueError, match=r"index IVF8,PQ4x4np with --quant L2 must be trained: give --fts_train"
    ):
        made(replace(config, fts_training_path=None))


@pytest.fixture
def embedded(config: IndexConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IndexConfig:
    """An embedded index with 300 references of its own."""
    monkeypatch.setattr(preparation, "EMBEDDED_DIR", tmp_path / "assets")
    prepared = made(replace(config, fts_reference_path=None))
    rows = np.load(config.fts_training_path)
    prepared.index.add(rows, np.arange(len(rows)))
    files.save(index_path(tmp_path / "assets", FACTORY, "L2"), prepared.index, prepared.inputs)
    return replace(config, fts_training_path=None, idx_dir=tmp_path / "none")


def test_references_follow_those_of_the_embedded_index(embedded: IndexConfig, toy: Toy) -> None:
    assert made(replace(embedded, fts_reference_path=None)).index.ntotal == 300
    prepared = made(embedded)
    assert (prepared.first_reference, prepared.index.ntotal) == (300, 800)
    found = prepared.index.search(np.load(toy.references)[:30], 50)
    assert np.mean([300 + row in each.ids for row, each in enumerate(found)]) > 0.6
    assert files_in(embedded) == []


def test_the_embedded_index_serves_its_own_descriptor_only(embedded: IndexConfig) -> None:
    with pytest.raises(
        IndexFileError, match=r"made with another descriptor.*give --fts_training_path as well"
    ):
        made(embedded, descriptor="another")


def test_what_was_saved_loads_with_the_word_of_its_side_car(config: IndexConfig) -> None:
    inputs = made(config).inputs
    index, made_from = load(stored(config), None, FACTORY, "L2")
    assert index.ntotal == 0
    assert {**made_from, "references": inputs["references"]} == inputs


@pytest.mark.parametrize(
    ("other", "asked", "message"),
    [
        ("IVF16,Flat", "IVF8,Flat", "its nlist is 16, expected 8"),
        ("PQ8x4np", "PQ4x4np", "its code size is 4, expected 2"),
        ("HNSW8", "IVF8,Flat", "its kind is IndexHNSWFlat, expected IndexIVFFlat"),
        ("IVF8,SQ8", "IVF8,Flat", "its kind is IndexIVFScalarQuantizer, expected IndexIVFFlat"),
        ("LSH", "PQ4x4np", "its kind is IndexLSH, expected IndexPQ"),
    ],
)
def test_an_index_of_another_kind_is_refused_whatever_its_side_car_says(
    tmp_path: Path, other: str, asked: str, message: str
) -> None:
    made = new_index(other, "L2", 64)
    made.train(np.random.default_rng(0).normal(size=(400, 64)))
    path = tmp_path / "a.index"
    inputs = {"factory": asked, "quant": "L2", "dim": 64}
    save(path, made, inputs)
    with pytest.raises(IndexFileError, match=f"holds no index {asked} with --quant L2: {message}"):
        load(path, inputs, asked, "L2")
    with pytest.raises(ValueError, match="with --quant IP"):
        load(path, inputs, other, "IP")


def test_an_untrained_index_and_one_of_other_dimensions_are_refused(tmp_path: Path) -> None:
    path, inputs = tmp_path / "a.index", {"dim": 64}
    save(path, new_index("IVF8,Flat", "L2", 64), inputs)
    with pytest.raises(IndexFileError, match="it is not trained"):
        load(path, inputs, "IVF8,Flat", "L2")
    save(path, new_index("Flat", "L2", 32), inputs)
    with pytest.raises(IndexFileError, match="it is for 32 dimensions, its side-car says 64"):
        load(path, inputs, "Flat", "L2")


def test_a_pipe_is_no_index_and_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.index"
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"a\.index is a pipe or a device, expected a regular file"):
        load(path, None, "Flat", "L2")
    path.unlink()
    path.touch()
    os.mkfifo(path.with_suffix(".json"))
    with pytest.raises(ValueError, match=r"a\.json is a pipe or a device"):
        load(path, None, "Flat", "L2")
