"""The figures with views that a run tells beside the published ones, which stay what they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import active_indexing
from active_indexing.attacks import jobs
from active_indexing.cli.console import summary_text
from active_indexing.extraction.matrix_file import open_descriptors
from active_indexing.index.preparation import PreparedIndex
from active_indexing.index.vector_index import new_index
from active_indexing.query.reranking import HANDICAPS
from active_indexing.reporting.page import page
from active_indexing.reporting.runs import open_runs
from active_indexing.view_retrieval import NotDecodedError, SearchByViews
from tests.conftest import Toy
from tests.runs import settings_of, tables, take_images

CSV = "retr_views_df.csv"


@pytest.fixture(scope="module")
def quick(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("views")
    take_images(toy, folder / "photos", 4)
    settings = settings_of(toy, folder / "indexes", eval_icd=False, eval_views="3")
    return settings | {"data_dir": folder / "photos"}


@pytest.fixture(scope="module")
def viewed(quick: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("viewed") / "out"
    active_indexing.baseline(output_dir=output, **quick)
    return output


@pytest.fixture
def run(viewed: Path, tmp_path: Path) -> Path:
    shutil.copytree(viewed, tmp_path / "out")
    return tmp_path / "out"


def test_the_published_figures_stay_and_three_images_have_others_beside_them(
    run: Path, quick: dict[str, Any]
) -> None:
    with_views = tables(run)
    content = active_indexing.baseline(output_dir=run, **quick).content
    rows = content["views_retrieval"]
    assert [row["n"] for row in rows] == [3] * len(content["retrieval"])
    found = pd.read_csv(run / CSV, dtype={"attack_param": str}, keep_default_na=False)
    published = pd.read_csv(run / "retr_df.csv")
    assert list(found.columns) == list(published.columns)
    assert found.groupby(["attack", "attack_param"], sort=False)["r@1"].mean().tolist() == [
        row["r@1"] for row in rows
    ]
    assert set(found["image_index"]) < set(published["image_index"])
    distances = [float(each) for each in found["retrieved_distances"][0][1:-1].split()]
    assert distances == sorted(distances)
    assert found["r@1"][0] == 1, "nothing was done to the first copy"

    off = quick | {"eval_views": "none"}
    content = active_indexing.baseline(output_dir=run, **off).content  # an older run, resumed
    assert "views_retrieval" not in content
    assert not (run / CSV).exists()
    assert tables(run) == with_views


def test_nothing_is_asked_twice_and_what_is_new_is(
    run: Path, quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (run / CSV).read_text()
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "perform", None)
        active_indexing.baseline(output_dir=run, **quick)
    assert (run / CSV).read_text() == before
    asked: list[int] = []
    perform = jobs.perform
    monkeypatch.setattr(jobs, "perform", lambda job: asked.append(job.image_id) or perform(job))
    content = active_indexing.baseline(output_dir=run, **quick | {"eval_views": "all"}).content
    assert (content["views_retrieval"][0]["n"], len(asked)) == (4, 1)


def test_images_that_were_removed_earlier_are_passed_over(quick: dict[str, Any], tmp_path: Path) -> None:
    settings = quick | {"save_imgs": False, "output_dir": tmp_path / "out"}
    active_indexing.baseline(**settings | {"eval_views": "2"})
    with pytest.warns(UserWarning, match=r"^1 released images were removed before .* with views"):
        content = active_indexing.baseline(**settings).content
    assert content["views_retrieval"][0]["n"] == 2
    active_indexing.baseline(**settings | {"output_dir": tmp_path / "none", "eval_views": "none"})
    with pytest.warns(UserWarning, match="^3 released images"):
        content = active_indexing.baseline(**settings | {"output_dir": tmp_path / "none"}).content
    assert "views_retrieval" not in content


def test_console_and_report_show_them_beside_the_others(run: Path, quick: dict[str, Any]) -> None:
    summary = active_indexing.baseline(output_dir=run, **quick)
    told = summary_text(summary.content, run)
    assert "R@1 views" in told
    assert "3 of 4 images (--eval_views all for every one)" in told
    shown = page(open_runs([run]))
    assert "views (3 images)" in shown
    assert "asked as <code>active-indexing query</code> asks" in shown


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("factory", ["IVF4,PQ4x4", "Flat", "HNSW8"])
@pytest.mark.parametrize("exact", [True, False])
def test_scores_are_those_of_a_loop_over_views_and_candidates(
    factory: str, exact: bool, tmp_path: Path
) -> None:
    dim, references, own = 16, unit(300, 16, 0), unit(5, 16, 1)
    index = new_index(factory, "L2", dim)
    index.train(references)
    index.add(references, np.arange(300))
    ids = (1 << 62) + np.arange(5)
    index.add(own, ids)
    np.save(tmp_path / "fts.npy", references)
    file = open_descriptors(tmp_path / "fts.npy") if exact else None
    entries = {int(image): own[n : n + 1] for n, image in enumerate(ids)}
    search = SearchByViews(PreparedIndex(index, {}, None, 0, None), entries, file, nprobe=4)
    views, kinds = unit(3, dim, 2), ["whole", "rectangle", "turned"]
    found = search(views, kinds, 400)
    remembered = dict(enumerate(references if exact else index.reconstruct(references)))
    remembered |= {int(image): own[n] for n, image in enumerate(ids)}
    for image, distance in zip(found.ids.tolist(), found.distances, strict=True):
        vector = remembered[image] / np.linalg.norm(remembered[image])
        scores = [
            view @ vector - search._spread * HANDICAPS[kind] for view, kind in zip(views, kinds, strict=True)
        ]
        assert distance == pytest.approx(2 - 2 * max(scores), abs=1e-4)
    index.set_nprobe(4)
    near = set(np.concatenate([n.ids for n in index.search(views, 50)]).tolist())
    assert set(found.ids.tolist()) == near
    assert len(search(views, kinds, 7).ids) == 7


def test_an_index_that_decodes_no_codes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    references = unit(300, 16, 0)
    index = new_index("IVF4,PQ4x4", "L2", 16)
    index.train(references)
    index.add(references, np.arange(300))
    undecoded = np.full((1, 50, 16), np.inf, np.float32)
    monkeypatch.setattr(index, "neighbours", lambda *_, **__: (np.zeros((1, 50), int), undecoded))
    search = SearchByViews(PreparedIndex(index, {}, None, 0, None), {7: unit(1, 16, 1)}, None, nprobe=1)
    with pytest.raises(NotDecodedError, match="does not decode the codes"):
        search(unit(1, 16, 2), ["whole"], 3)
