"""The notebook on a real run of both arms and of the attack grid, in a toy world."""

from __future__ import annotations

import ast
import base64
import copy
import io
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from PIL import Image

import active_indexing
from active_indexing.reporting import cells, runs
from active_indexing.reporting.page import write_report
from scripts import measure_cells
from tests.conftest import Toy

NOTEBOOK = Path(__file__).parents[2] / "analysis" / "analysis.ipynb"


@pytest.fixture(scope="module")
def outputs(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``output/passive`` and ``output/active`` as `make run` leaves them, and a grid run."""
    folder = tmp_path_factory.mktemp("work")
    photos, few = folder / "photos", folder / "few"
    for target, count in ((photos, 5), (few, 1)):
        target.mkdir()
        for path in sorted(toy.images.glob("*.png"))[:count]:
            Image.open(path).resize((96, 72)).save(target / path.name)
    (photos / "broken.jpg").write_bytes(b"no image")
    settings = {
        "model_path": toy.model, "resize_size": toy.size, "fts_training_path": toy.training,
        "fts_reference_path": toy.references, "idx_dir": folder / "indexes", "idx_factory": "IVF4,PQ8x4",
        "kneighbors": 20, "workers": 0, "verbose": 0,
    }  # fmt: skip
    both = {**settings, "query_nonmatch_dir": toy.images / "more"}
    active_indexing.baseline(photos, folder / "output" / "passive", **both)
    quick = {"iterations": 3, "views": 1, "entry_views": 4}
    active_indexing.activate(photos, folder / "output" / "active", **quick, **both)
    grid = {**settings, "use_attacks_2": True, "eval_icd": False}
    active_indexing.baseline(few, folder / "output" / "grid", **grid)
    return folder / "output"


Cells = list[nbformat.NotebookNode]


def executed(*outputs: Path) -> list[Cells]:
    """Every cell, one after the other, as a user who starts Jupyter in the project's folder.

    Once for each folder of outputs, in one kernel: to start one takes seconds.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    given, every = notebook.cells, []
    for folder in outputs:
        chosen = f"import os; os.environ['ACTIVE_INDEXING_OUTPUT'] = {str(folder)!r}"
        every += [nbformat.v4.new_code_cell(chosen), *copy.deepcopy(given)]
    notebook.cells = every
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    done = NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute().cells
    return [done[start : start + 1 + len(given)] for start in range(0, len(done), 1 + len(given))]


def shown(cells: Cells, kind: str) -> list[str]:
    return [
        output["data"][kind]
        for cell in cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def test_measuring_adds_cells_that_agree_with_the_manifest(outputs: Path) -> None:
    folder = outputs / "passive"
    assert measure_cells.main([str(folder), "--workers", "0", "--queries", "5"]) == 0
    measured = cells.cells(runs.open_runs([folder])[0])
    keys = ["image_index", "attack", "attack_param"]
    searched = runs.open_runs([folder])[0].retrieval
    assert searched is not None
    assert set(measured[keys].itertuples(index=False, name=None)) == set(
        searched[keys].itertuples(index=False, name=None)
    )
    unedited = measured[measured["attack"] == "none"].set_index("image_index")
    manifest = runs.open_runs([folder])[0].released.set_index("id")
    assert unedited["cell_original"].to_dict() == manifest["cell_before"].to_dict()
    assert unedited["cell_edited"].to_dict() == manifest["cell_after"].to_dict()
    times = pd.read_csv(folder / cells.SEARCH_TIMES)
    assert times["nprobe"].tolist() == [1, 2, 4]
    assert (times["median_ms"] > 0).all()


def test_the_error_is_the_distance_that_the_index_reports(outputs: Path) -> None:
    """The index answers with the squared distance to the reconstruction of the entry: the same number."""
    folder = outputs / "active"
    measure_cells.main([str(folder), "--workers", "0", "--queries", "1"])
    measured = cells.cells(runs.open_runs([folder])[0])
    found = pd.read_csv(folder / "retr_df.csv").dropna(subset="rank")
    unedited = found[(found["attack"] == "none")]
    assert len(unedited) >= 4
    errors = measured[measured["attack"] == "none"].set_index("image_index")["error"]
    for _, row in unedited.iterrows():
        told = float(row["retrieved_distances"][1:-1].split()[int(row["rank"])])
        assert errors[row["image_index"]] == pytest.approx(told, abs=1e-4)


def test_a_changed_descriptor_is_not_measured(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (outputs / "active" / "run.json").read_text()
    fingerprint = runs.open_runs([outputs / "active"])[0].content["descriptor"]["fingerprint"]
    (tmp_path / "run.json").write_text(text.replace(fingerprint, "0" * 64))
    (tmp_path / "manifest.csv").write_text((outputs / "active" / "manifest.csv").read_text())
    assert measure_cells.main([str(tmp_path)]) == 2
    assert "the descriptor has changed since" in capsys.readouterr().err


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom_and_draws_every_figure_or_says_what_is_missing(
    outputs: Path, tmp_path: Path
) -> None:
    folders = [str(outputs / arm) for arm in ("passive", "active")]
    measure_cells.main([*folders, "--workers", "0", "--queries", "5"])
    unmeasured = shutil.ignore_patterns(cells.CELLS, cells.SEARCH_TIMES)
    shutil.copytree(outputs / "passive", tmp_path / "passive", ignore=unmeasured)
    whole, bare = executed(outputs, tmp_path)
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(p)))) for p in shown(whole, "image/png")]
    assert len(pictures) == 10
    assert all(picture.std() > 5 for picture in pictures)  # none is blank
    texts = shown(whole, "text/plain")
    assert ast.literal_eval(texts[0]) == ["grid", "passive", "active"]
    assert "mean of all attacks" in texts[1]
    assert not [text for text in texts if "Not measured" in text or "No run" in text]

    said = "".join(shown(bare, "text/plain"))
    assert "No run in OUTPUT used --use_attacks_2 True" in said
    assert said.count("Not measured yet: start scripts/measure_cells.py") == 4
    assert "No released image changed." in said


def test_make_run_measures_what_the_notebook_and_the_report_show() -> None:
    lines = (NOTEBOOK.parents[1] / "Makefile").read_text().partition("\nrun: setup\n")[2].split("\n\n")[0]
    assert lines.index("measure_cells.py output/passive output/active") < lines.index("scripts/report.py")
    assert "--use_attacks_2 True" in lines


def test_the_notebook_is_committed_without_outputs_and_says_what_it_needs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert "pip install jupyterlab" in notebook.cells[0]["source"]
    assert max(len(cell["source"].splitlines()) for cell in notebook.cells if cell.cell_type == "code") <= 8


def test_a_report_of_real_runs_has_its_figures(outputs: Path) -> None:
    page = write_report([outputs / "passive", outputs / "active"]).read_text()
    assert "1 of 6 files was skipped" in page
    assert page.count("data:image/svg+xml") >= 5
    assert page.count('type="range"') == 2 * 5
