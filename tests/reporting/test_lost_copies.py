from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from active_indexing.reporting.lost_copies import lost_copies
from active_indexing.reporting.page import write_report
from active_indexing.reporting.runs import Run
from tests.reporting.outputs import query, write_output, write_pictures

PICTURE = base64.b64encode(b"a picture").decode()


def item(image: int, answer: int | None, rank: int | None, **more: Any) -> dict[str, Any]:
    return {
        "image_index": image, "attack": "rotation", "attack_param": "25.0", "rank": rank, "answer": answer,
        "answer_name": "", "distance": None if answer is None else 0.25,
        "right_distance": None if rank is None else 0.5, "pictures": {"copy": f"{image} copy"},
    } | more  # fmt: skip


def run_with(root: Path, copies: list[dict[str, Any]], lost: int = 7) -> Run:
    rows = write_pictures(root, root / "active", 3, shift=4)
    run = write_output(root / "active", active=True, retrieval=[query(0, "none", "", 0)], manifest=rows)
    content = {"asked": 1234, "lost": lost, "copies": copies, "pictures": {"0 copy": PICTURE}}
    (run.folder / "lost_copies.json").write_text(json.dumps(content))
    return run


def test_a_lost_copy_is_told_with_what_came_back_and_where_the_right_one_was(tmp_path: Path) -> None:
    copies = [
        item(0, 1, 2),
        item(1, 7_654_321, None),
        item(2, 5, None, answer_name="other/cat.jpg", attack="auto", attack_param=""),
        item(1, None, None),
    ]
    found = lost_copies(run_with(tmp_path, copies))
    assert found is not None
    assert (found.asked, found.lost) == (1234, 7)
    told = [(copy.name, copy.attack, copy.answer_name, copy.place) for copy in found.copies]
    assert told == [
        ("0.png", "rotation 25", "1.png, at 0.250", "answer 3, at 0.500"),
        ("1.png", "rotation 25", "reference 7,654,321, at 0.250", "not among the answers"),
        ("2.png", "random chain", "other/cat.jpg, at 0.250", "not among the answers"),
        ("1.png", "rotation 25", "nothing", "not among the answers"),
    ]
    assert [copy.copy for copy in found.copies] == [f"data:image/jpeg;base64,{PICTURE}", "", "", ""]


def test_the_page_shows_them_and_says_how_many_there_are(tmp_path: Path) -> None:
    page = write_report([run_with(tmp_path, [item(0, 1, 2)]).folder]).read_text()
    text = " ".join(page.split())
    assert "Of 1,234 copies in active, each searched as a whole, 7 did not bring back the right image" in text
    assert f'src="data:image/jpeg;base64,{PICTURE}"' in page
    assert "a reference, known by its descriptor alone" in page  # no picture of the answer was kept
    assert 'href="#lost"' in page


def test_a_run_that_lost_none_says_so(tmp_path: Path) -> None:
    page = write_report([run_with(tmp_path, [], lost=0).folder]).read_text()
    assert "None: every copy brought back its image first." in page


def test_a_file_that_an_earlier_run_left_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    run = run_with(tmp_path, [item(0, 1, 2)])
    run.content["retrieval"] = []
    assert lost_copies(run) is None
