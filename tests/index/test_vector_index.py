from __future__ import annotations

import os
from functools import cache

import faiss
import numpy as np
import pytest

from active_indexing.index.native_output import without_native_lines
from active_indexing.index.vector_index import IndexFileError, VectorIndex, new_index

DIM = 64
BIG = 1 << 62
# "np" leaves out FAISS' reordering of codes, which takes longer than all the rest of the training.
IVF = ["IVF8,PQ4x4np", "OPQ8_16,IVF8,PQ8x4np", "PCA16,IVF8,PQ4x4np", "IVF8,Flat", "IVF8,SQ8", "IVF8,PQ8x4fs"]
DECODES = [*IVF, "PQ4x4np", "PQ8x4fs", "HNSW32", "Flat", "Flat,RFlat", "IVF8,PQ4x4np,RFlat", "SQ8"]
BOTH = [(factory, metric) for metric in ("L2", "IP") for factory in [*DECODES, "PCAW16,IVF8,PQ4x4np"]]
L2_ONLY = [("PCA16,LSH", "L2"), ("IMI2x4,PQ4x4np", "L2")]


def unit(count: int, seed: int, dim: int = DIM) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


TRAINING, ENTRIES, QUERIES = unit(400, 0), unit(300, 1), unit(20, 2)


def newly_trained(factory: str, metric: str = "L2") -> VectorIndex:
    index = new_index(factory, metric, DIM)
    if index.needs_training:
        index.train(TRAINING)
    return index


@cache
def trained_bytes(factory: str, metric: str) -> bytes:
    return newly_trained(factory, metric).to_bytes()


def trained(factory: str, metric: str = "L2") -> VectorIndex:
    return VectorIndex.from_bytes(trained_bytes(factory, metric), factory, metric)


def filled(factory: str, metric: str = "L2") -> tuple[VectorIndex, np.ndarray]:
    index = trained(factory, metric)
    ids = BIG + np.random.default_rng(3).permutation(len(ENTRIES)).astype(np.int64) * 12_345
    index.add(ENTRIES, ids)
    return index, ids


@pytest.mark.parametrize(("factory", "metric"), BOTH + L2_ONLY)
def test_every_factory_gives_63_bit_ids_best_first_without_padding(factory: str, metric: str) -> None:
    index, ids = filled(factory, metric)
    index.set_nprobe(3)
    found = index.search(QUERIES, 50)
    assert index.ntotal == len(ids)
    assert len(found) == len(QUERIES)
    for each in found:
        assert 0 < len(each.ids) == len(each.distances) <= 50
        assert np.isin(each.ids, ids).all()
        assert len(set(each.ids.tolist())) == len(each.ids)
        steps = np.diff(each.distances)
        assert (steps <= 0).all() if metric == "IP" else (steps >= 0).all()


@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_an_exact_index_agrees_with_a_sorted_loop(metric: str) -> None:
    index, ids = filled("Flat", metric)
    for query, found in zip(QUERIES, index.search(QUERIES, 5), strict=True):
        values = [float(query @ e) if metric == "IP" else float(((query - e) ** 2).sum()) for e in ENTRIES]
        order = np.argsort(values)[::-1] if metric == "IP" else np.argsort(values)
        assert found.ids.tolist() == ids[order[:5]].tolist()
        assert found.distances == pytest.approx(np.array(values)[order[:5]], abs=1e-5)


def test_cells_shorter_than_k_give_fewer_results_and_no_padding() -> None:
    index, _ = filled("IVF8,Flat")
    sizes = np.bincount(index.cells(ENTRIES), minlength=8)
    for query, found in zip(QUERIES, index.search(QUERIES, 300), strict=True):
        assert len(found.ids) == sizes[index.cells(query[None])[0]] < 300


@pytest.mark.parametrize(
    "factory", ["IVF8,Flat", "PCA16,IVF8,Flat", "OPQ8_16,IVF8,PQ8x4np", "IVF8,PQ4x4np,RFlat"]
)
def test_more_probes_reach_more_cells_even_behind_a_transform(factory: str) -> None:
    index, _ = filled(factory)
    reached = []
    for nprobe in (1, 2, 4, 8):
        index.set_nprobe(nprobe)
        reached.append(sum(len(each.ids) for each in index.search(QUERIES, 75)))
    assert reached == sorted(reached)
    assert reached[0] < reached[-1] == 75 * len(QUERIES)


@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_recall_grows_with_nprobe_to_that_of_the_exhaustive_search(metric: str) -> None:
    index, _ = filled("IVF8,Flat", metric)
    exact = [set(each.ids.tolist()) for each in filled("Flat", metric)[0].search(QUERIES, 10)]
    recalls = []
    for nprobe in range(1, 9):
        index.set_nprobe(nprobe)
        found = [set(each.ids.tolist()) for each in index.search(QUERIES, 10)]
        recalls.append(sum(len(a & b) for a, b in zip(exact, found, strict=True)) / (10 * len(QUERIES)))
    assert recalls == sorted(recalls)
    assert recalls[0] < 1.0 == recalls[-1]


@pytest.mark.parametrize("factory", ["Flat", "PQ4x4np", "PCA16,LSH"])
def test_nprobe_means_nothing_without_cells(factory: str) -> None:
    index, _ = filled(factory)
    before = [each.ids.tolist() for each in index.search(QUERIES, 5)]
    index.set_nprobe(4)
    assert [each.ids.tolist() for each in index.search(QUERIES, 5)] == before
    assert index.nlist is None
    assert index.cells(QUERIES) is None


@pytest.mark.parametrize("factory", ["IVF8,PQ4x4np", "OPQ8_16,IVF8,PQ8x4np", "PCA16,IVF8,PQ4x4np"])
@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_the_reconstruction_is_what_a_clone_remembers_after_adding(factory: str, metric: str) -> None:
    index = trained(factory, metric)
    told = index.reconstruct(QUERIES)
    clone = faiss.deserialize_index(np.frombuffer(index.to_bytes(), dtype=np.uint8))
    clone.add(QUERIES)
    faiss.extract_index_ivf(clone).make_direct_map()
    remembered = np.stack([clone.reconstruct(row) for row in range(len(QUERIES))])
    np.testing.assert_allclose(told, remembered, atol=1e-6)
    assert index.ntotal == 0


@pytest.mark.parametrize("factory", DECODES)
def test_the_reconstruction_is_nearer_than_a_stranger(factory: str) -> None:
    told = trained(factory).reconstruct(TRAINING[:20])
    errors = ((told - TRAINING[:20]) ** 2).sum(1)
    strangers = ((told - np.roll(TRAINING[:20], 1, axis=0)) ** 2).sum(1)
    assert errors.mean() < 0.7 * strangers.mean()


@pytest.mark.parametrize("factory", ["Flat", "HNSW32", "IVF8,Flat"])
def test_an_index_of_whole_vectors_remembers_them_exactly(factory: str) -> None:
    assert np.array_equal(trained(factory).reconstruct(QUERIES), QUERIES)


@pytest.mark.parametrize("metric", ["L2", "IP"])
def test_the_cell_is_that_of_the_nearest_centroid(metric: str) -> None:
    index = trained("IVF8,PQ4x4np", metric)
    centroids = index.centroids(np.arange(8))
    closeness = QUERIES @ centroids.T
    if metric == "L2":
        closeness = closeness - (centroids**2).sum(1) / 2
    assert index.nlist == 8
    assert index.cells(QUERIES).tolist() == closeness.argmax(1).tolist()


@pytest.mark.parametrize("factory", ["OPQ8_16,IVF8,PQ8x4np", "PCA16,IVF8,PQ4x4np", "IVF8_HNSW8,Flat"])
def test_a_centroid_carried_back_through_the_transform_falls_in_its_own_cell(factory: str) -> None:
    index = trained(factory)
    assert index.centroids(np.arange(8)).shape == (8, DIM)
    assert index.cells(index.centroids(np.arange(8))).tolist() == list(range(8))


def test_centroids_of_a_multi_index_are_those_of_its_cells() -> None:
    index = trained("IMI2x4,PQ4x4np")
    cells = index.cells(QUERIES)
    assert index.nlist == 256
    assert index.cells(index.centroids(cells)).tolist() == cells.tolist()


def test_indexes_that_forget_say_so() -> None:
    for whitened in (newly_trained("PCAW16,IVF8,PQ4x4np"), trained("PCAW16,IVF8,PQ4x4np")):
        with pytest.raises(ValueError, match=r"can't say where a vector lands.*--target ori_ft"):
            whitened.reconstruct(QUERIES)
        with pytest.raises(ValueError, match=r"centroid can't be carried back.*PCA without whitening"):
            whitened.centroids(np.array([0]))
    with pytest.raises(ValueError, match=r"Flat has no cells.*Use an IVF index"):
        trained("Flat").centroids(np.array([0]))


@pytest.mark.parametrize("factory", ["IVF8,PQ4x4np", "OPQ8_16,IVF8,PQ8x4np", "PCA16,LSH", "PQ4x4np"])
def test_training_twice_gives_the_same_bytes(factory: str) -> None:
    assert newly_trained(factory).to_bytes() == trained_bytes(factory, "L2")


@pytest.mark.parametrize(("factory", "metric"), BOTH + L2_ONLY)
def test_a_trained_index_read_back_does_the_same(factory: str, metric: str) -> None:
    index = trained(factory, metric)
    again = VectorIndex.from_bytes(index.to_bytes(), factory, metric)
    for each in (index, again):
        each.add(ENTRIES, np.arange(len(ENTRIES)))
        each.set_nprobe(2)
    pairs = zip(index.search(QUERIES, 7), again.search(QUERIES, 7), strict=True)
    assert all(np.array_equal(a.ids, b.ids) and np.array_equal(a.distances, b.distances) for a, b in pairs)


def test_an_ivf_index_keeps_its_entries_in_the_file() -> None:
    index, _ = filled("IVF8,PQ4x4np")
    again = VectorIndex.from_bytes(index.to_bytes(), "IVF8,PQ4x4np", "L2")
    assert again.ntotal == len(ENTRIES)
    assert [a.ids.tolist() for a in again.search(QUERIES, 5)] == [
        a.ids.tolist() for a in index.search(QUERIES, 5)
    ]


def test_an_index_that_does_not_keep_ids_is_not_written_with_entries() -> None:
    with pytest.raises(ValueError, match="does not keep ids"):
        filled("Flat")[0].to_bytes()


@pytest.mark.parametrize("content", [b"", b"not an index", b"IwPQ" + bytes(500)])
def test_bytes_that_are_no_whole_index_are_refused(content: bytes) -> None:
    with pytest.raises(IndexFileError, match="not a whole FAISS index"):
        VectorIndex.from_bytes(content, "IVF8,PQ4x4np", "L2")


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_part_of_an_index_is_refused(part: float) -> None:
    content = trained_bytes("IVF8,PQ4x4np", "L2")
    with pytest.raises(IndexFileError, match="not a whole FAISS index"):
        VectorIndex.from_bytes(content[: int(part * len(content))], "IVF8,PQ4x4np", "L2")


@pytest.mark.parametrize("factory", ["IVF8,PQ4x4np", "PQ4x4np", "PCA16,LSH", "OPQ8_16,IVF8,PQ8x4np", "Flat"])
def test_references_added_in_pieces_give_the_same_answers_as_added_at_once(factory: str) -> None:
    whole, pieces = trained(factory), trained(factory)
    whole.add(ENTRIES, np.arange(300))
    for start in range(0, 300, 70):
        pieces.add(ENTRIES[start : start + 70], np.arange(300)[start : start + 70])
    for a, b in zip(whole.search(QUERIES, 10), pieces.search(QUERIES, 10), strict=True):
        assert a.ids.tolist() == b.ids.tolist()
        assert a.distances.tolist() == b.distances.tolist()


@pytest.mark.parametrize(
    ("factory", "least"),
    [
        ("IVF8,PQ4x4np", 16),
        ("IVF40,PQ4x4np", 40),
        ("OPQ8_16,IVF8,PQ8x4np", 256),
        ("PCA16,LSH", 16),
        ("PCA32,IVF8,PQ4x4np", 32),
        ("IMI2x4,PQ4x4np", 16),
        ("IVF8,PQ4x4np,RFlat", 16),
        ("HNSW8_PQ4x4", 16),
        ("SQ8", 1),
    ],
)
def test_the_least_number_of_training_descriptors_is_just_enough(factory: str, least: int) -> None:
    index = new_index(factory, "L2", DIM)
    assert index.training_sizes.least == least
    index.train(TRAINING[:least])
    assert not index.needs_training
    if least > 1:
        with pytest.raises(ValueError, match=rf"{factory} needs at least {least} training descriptors"):
            new_index(factory, "L2", DIM).train(TRAINING[: least - 1])


def test_training_sizes_follow_faiss_and_never_starve_a_transform() -> None:
    assert new_index("PQ8x8", "L2", DIM).training_sizes.least == 256
    sizes = new_index("IVF4096,PQ8x8", "L2", DIM).training_sizes
    assert (sizes.good, sizes.most) == (159_744, 1_048_576)
    assert new_index("PCA64,LSH", "L2", 512).training_sizes.most == 256 * 512
    assert new_index("SQ8", "L2", DIM).training_sizes.most == 65_536


def test_warnings_about_clusters_are_left_out_and_others_kept(
    capfd: pytest.CaptureFixture[str],
) -> None:
    new_index("IVF8,PQ4x4np", "L2", DIM).train(TRAINING[:40])
    assert "WARNING" not in capfd.readouterr().err
    with without_native_lines(b"WARNING clustering"):
        os.write(2, b"WARNING clustering 3 points\nsomething else\n")
    assert capfd.readouterr().err == "something else\n"


def test_a_descriptor_of_another_length_is_refused_everywhere() -> None:
    index = trained("IVF8,PQ4x4np")
    wrong = unit(50, 0, dim=32)
    calls = [index.train, index.reconstruct, index.cells, lambda x: index.search(x, 1)]
    for call in [*calls, lambda x: index.add(x, np.arange(50))]:
        with pytest.raises(ValueError, match=r"shape \(50, 32\), but IVF8,PQ4x4np was made for \(N, 64\)"):
            call(wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_row(value: float) -> None:
    index = trained("IVF8,PQ4x4np")
    bad = ENTRIES.copy()
    bad[17, 3] = value
    bad[17, 4] = -value
    with pytest.raises(ValueError, match="row 17 of 300 has a value that is not finite"):
        index.add(bad, np.arange(300))
    with pytest.raises(ValueError, match="training descriptors: row 17 of 300"):
        index.train(bad)
    assert index.ntotal == 0


def test_descriptors_without_their_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="got 300 descriptors but 299 ids"):
        trained("Flat").add(ENTRIES, np.arange(299))


@pytest.mark.parametrize(
    ("factory", "metric", "reason"),
    [
        ("IVF8,Nonsense", "L2", "could not parse"),
        ("PQ7x8", "L2", "."),
        ("IDMap,Flat", "L2", "leave the IDMap out"),
        ("PCA16,LSH", "IP", "METRIC_L2"),
        ("IMI2x4,PQ4x4np", "IP", "not implemented for inner prod"),
        ("HNSW8_PQ4x4", "IP", "it knows another metric only"),
        ("IVF8,PQ4+4", "L2", "refinement codes"),
    ],
)
def test_what_faiss_cannot_make_or_makes_wrong_is_refused(factory: str, metric: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        new_index(factory, metric, DIM)
    assert factory in str(error.value)
    assert "\n" not in str(error.value)


def repeated(factory: str, metric: str = "L2") -> tuple[VectorIndex, VectorIndex]:
    """100 images of three entries each: all under the image's id, and each under an id of its own."""
    together, apart = trained(factory, metric), trained(factory, metric)
    together.add(ENTRIES, np.repeat(BIG + np.arange(100), 3))
    apart.add(ENTRIES, BIG + np.arange(300))
    return together, apart


@pytest.mark.parametrize(("factory", "metric"), [*BOTH, *L2_ONLY])
def test_an_image_with_several_entries_is_found_once_by_its_best(factory: str, metric: str) -> None:
    together, apart = repeated(factory, metric)
    for index in (together, apart):
        index.set_nprobe(4)
    for got, entries in zip(together.search(QUERIES, 10), apart.search(QUERIES, 300), strict=True):
        images = dict.fromkeys(((entries.ids - BIG) // 3 + BIG).tolist())
        assert len(got.ids) == len(set(got.ids.tolist())) == min(10, len(images)), "filled up with others"
        best = [float(entries.distances[(entries.ids - BIG) // 3 + BIG == image][0]) for image in images]
        if "RFlat" not in factory:  # it refines as many as are asked for
            assert got.distances == pytest.approx(np.array(best[:10]), rel=1e-5, abs=1e-5)


def test_several_entries_are_one_answer_in_an_index_read_back_too() -> None:
    together, _ = repeated("IVF8,PQ4x4np")
    again = VectorIndex.from_bytes(together.to_bytes(), "IVF8,PQ4x4np", "L2")
    for each in (together, again):
        each.set_nprobe(8)
    assert again.ntotal == 300
    for a, b in zip(together.search(QUERIES, 100), again.search(QUERIES, 100), strict=True):
        assert a.ids.tolist() == b.ids.tolist()
        assert len(set(b.ids.tolist())) == len(b.ids) == 100


def test_ids_beyond_the_integers_of_a_float_are_told_apart_when_read_back() -> None:
    index = trained("IVF8,Flat")
    index.add(ENTRIES, BIG + np.arange(300))
    again = VectorIndex.from_bytes(index.to_bytes(), "IVF8,Flat", "L2")
    again.set_nprobe(8)
    assert len(again.search(QUERIES, 300)[0].ids) == 300
