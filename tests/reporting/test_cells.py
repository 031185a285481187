from __future__ import annotations

from pathlib import Path

import pytest

from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.reporting import cells
from tests.reporting.outputs import write_output


def test_the_share_of_copies_that_stay_counts_equal_cells(tmp_path: Path) -> None:
    run = write_output(tmp_path, active=True)
    rows = [
        (1, "auto", "", 3, 3, 0.5, 1.0),
        (2, "auto", "", 3, 4, 0.25, 1.5),
        (1, "contrast", "2.0", 3, 3, 0.75, 1.0),
        (2, "contrast", "2.0", 3, 3, 0.25, 1.0),
    ]
    write_csv(tmp_path / cells.CELLS, cells.CELL_COLUMNS, rows)
    table = cells.stay_table([run]).set_index(["attack", "attack_param"])
    assert list(table.index) == [("contrast", "2.0"), ("auto", "")]
    assert table["stays"].tolist() == [1.0, 0.5]
    assert table.loc[[("auto", "")], ["low", "high"]].values.tolist() == [[0, 1]]
    errors = cells.error_table([run], (("contrast", "2.0"),))
    assert errors["mean"].tolist() == pytest.approx([0.5, 1.0])


def test_an_index_without_cells_has_errors_but_no_shares(tmp_path: Path) -> None:
    run = write_output(tmp_path, active=True)
    write_csv(tmp_path / cells.CELLS, cells.CELL_COLUMNS, [(1, "none", "", None, None, 0.5, None)])
    assert cells.stay_table([run]).empty
    assert cells.cells(run)["error"].tolist() == [0.5]


def test_what_was_not_measured_gives_empty_tables(tmp_path: Path) -> None:
    run = write_output(tmp_path, active=True)
    assert cells.stay_table([run]).empty
    assert cells.search_times([run]).empty
    assert cells.error_table([run], (("none", ""),)).empty
