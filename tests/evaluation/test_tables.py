from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_indexing.artefacts import csv_tables
from active_indexing.evaluation import tables
from active_indexing.records import NO_MATCH, ManifestRow, QueryRow
from active_indexing.release import manifest

RETRIEVAL = (
    "batch,image_index,attack,attack_param,retrieved_distances,retrieved_indices,rank,r@1,r@10,r@100,ap"
)
COPY_DETECTION = "batch,image_index,attack,attack_param,retrieved_distances,retrieved_indices"
ID = 2**62 + 12345678901234567


def query(ids: list[int], distances: list[float] | None = None, **fields: object) -> QueryRow:
    given = np.arange(len(ids)) if distances is None else np.array(distances)
    values = {"image_index": ID, "attack": "rotation", "attack_param": "25.0"} | fields
    return QueryRow(ids=np.array(ids, dtype=np.int64), distances=given.astype(np.float32), **values)  # type: ignore[arg-type]


def test_columns_are_those_of_the_contract_in_their_order() -> None:
    assert ",".join(tables.RETRIEVAL_COLUMNS) == RETRIEVAL
    assert ",".join(tables.COPY_DETECTION_COLUMNS) == COPY_DETECTION


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_float32_lists_come_back_bit_for_bit(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    cell = csv_tables.list_cell(array)
    assert cell[0] + cell[-1] == "[]"
    assert "\n" not in cell
    assert "  " not in cell
    np.testing.assert_array_equal(csv_tables.parse_list_cell(cell).astype(np.float32), array)


@given(st.lists(st.integers(-1, 2**63 - 1), max_size=5))
def test_64_bit_ids_come_back_exactly(values: list[int]) -> None:
    cell = csv_tables.list_cell(np.array(values, dtype=np.int64))
    assert csv_tables.parse_id_cell(cell).tolist() == values
    assert [int(text) for text in cell[1:-1].split()] == values


def test_long_lists_are_never_elided_or_wrapped() -> None:
    cell = csv_tables.list_cell(np.linspace(0, 1, 5000, dtype=np.float32))
    assert len(cell[1:-1].split()) == 5000
    assert "." * 3 not in cell


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([ID, 1], (0, 1, 1, 1, 1.0)),
        ([1, 2, ID], (2, 0, 1, 1, 1 / 3)),
        ([*range(10), ID], (10, 0, 0, 1, 1 / 11)),
        ([1, 2], (None, 0, 0, 0, 0.0)),
        ([], (None, 0, 0, 0, 0.0)),
        (list(range(200)), (None, 0, 0, 0, 0.0)),
    ],
)
def test_rank_recall_and_ap_of_a_row(ids: list[int], expected: tuple) -> None:
    assert tables.retrieval_row(3, query(ids))[6:] == expected


def test_a_row_with_a_match_that_k_cut_off_has_zeros_however_small_k_was() -> None:
    assert tables.retrieval_row(0, query([5]))[6:] == (None, 0, 0, 0, 0.0)


def test_retrieval_rows_read_with_pandas_defaults(tmp_path: Path) -> None:
    path = tmp_path / "retr_df.csv"
    rows = [
        tables.retrieval_row(0, query([7, ID], [0.1, 1 / 3], attack="none", attack_param="")),
        tables.retrieval_row(1, query([], attack="meme_format", attack_param="")),
        tables.retrieval_row(1, query([1, 2], [3.4e38, -1e-12])),
    ]
    assert csv_tables.write_csv(path, tables.RETRIEVAL_COLUMNS, rows) == 3
    table = pd.read_csv(path)
    assert ",".join(table.columns) == RETRIEVAL
    assert table["image_index"].tolist() == [ID] * 3
    assert table["image_index"].dtype == np.int64
    assert table["rank"].tolist()[0] == 1
    assert table["rank"].isna().tolist() == [False, True, True]
    assert table[["r@1", "r@10", "r@100"]].to_numpy().tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert table["ap"].tolist() == [0.5, 0, 0]
    assert table["attack_param"].isna().tolist() == [True, True, False]
    assert table["attack_param"].tolist()[2] == 25.0
    assert table["retrieved_distances"][1] == "[]"
    assert float(table["retrieved_distances"][0][1:-1].split()[1]) == pytest.approx(1 / 3, rel=1e-7)
    assert len(path.read_text().splitlines()) == 4


def test_a_row_is_one_physical_line_whatever_text_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "icd_df.csv"
    odd = '{"name": "crop", "x1": 0.25}\n"quoted", \r\n[é]'
    row = query([1], image_index=NO_MATCH, attack="crop+blur", attack_param=odd)
    csv_tables.write_csv(path, tables.COPY_DETECTION_COLUMNS, [tables.copy_detection_row(0, row)])
    assert len(path.read_bytes().splitlines()) == 2
    table = pd.read_csv(path)
    assert table["image_index"].tolist() == [-1]
    assert table["attack_param"].tolist() == [odd.replace("\r", "\\r").replace("\n", "\\n")]


def test_every_line_break_that_a_reader_may_know_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    breaks = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    csv_tables.write_csv(path, ("name",), [(f"a{breaks}b",)])
    assert len(path.read_text("utf-8").splitlines()) == 2


def test_names_that_are_no_utf8_are_written_as_escapes(tmp_path: Path) -> None:
    row = ManifestRow(ID, "photos/\udcff,\n.jpg", reason='broken, "quoted"')
    csv_tables.write_csv(tmp_path / "m.csv", ManifestRow.columns(), [manifest.manifest_row(row)])
    table = pd.read_csv(tmp_path / "m.csv")
    assert table["source"][0] == "photos/\\udcff,\\n.jpg"
    assert table["reason"][0] == 'broken, "quoted"'
    assert table[["released", "psnr", "cell_before"]].isna().all(axis=None)


def test_manifest_figures_keep_every_digit(tmp_path: Path) -> None:
    row = ManifestRow(ID, "a.jpg", "imgs/a.png", "released", "", 3, 2, 42.123456789012345, 1 / 3, 7, 0, 8)
    same = ManifestRow(ID, "b.jpg", "imgs/b.png", "released", psnr=math.inf)
    rows = [manifest.manifest_row(each) for each in (row, same)]
    csv_tables.write_csv(tmp_path / "m.csv", ManifestRow.columns(), rows)
    table = pd.read_csv(tmp_path / "m.csv")
    assert table["psnr"].tolist() == [row.psnr, math.inf]
    assert table["ssim"][0] == 1 / 3


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    csv_tables.write_csv(path, ("a",), [(1,)])

    def rows() -> object:
        yield (2,)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        csv_tables.write_csv(path, ("a",), rows())  # type: ignore[arg-type]
    assert path.read_text() == "a\n1\n"
    assert list(tmp_path.iterdir()) == [path]
