from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from active_indexing.attacks.jobs import AttackJob, perform
from active_indexing.attacks.pictures import PictureJob, picture
from active_indexing.attacks.registry import Attack
from active_indexing.evaluation import lost_copies
from active_indexing.evaluation.lost_copies import LostCopies, Origins, write_lost_copies
from active_indexing.evaluation.stage import QueryImage
from active_indexing.records import QueryRow

ATTACKS = (Attack("none"), Attack("rotation", (("angle", 90.0),)), Attack("auto"))


def row(image: int, attack: Attack, ids: list[int]) -> QueryRow:
    distances = np.arange(len(ids), dtype=np.float32) / 4
    return QueryRow(image, attack.name, attack.param_text, np.array(ids, dtype=np.int64), distances)


def watched(rows: list[QueryRow]) -> LostCopies:
    lost = LostCopies()
    assert [each for _, each in lost.watch((0, each) for each in rows)] == rows
    return lost


@pytest.fixture
def queries(tmp_path: Path) -> dict[int, QueryImage]:
    """Three released images, ids 100 to 102."""
    made = {}
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        made[100 + number] = QueryImage(100 + number, path, 100 + number, f"sha{number}")
    return made


def write(folder: Path, rows: list[QueryRow], queries: dict[int, QueryImage], seed: int = 0) -> Any:
    path = folder / "lost_copies.json"
    lost = watched(rows)
    origins = Origins(queries, ATTACKS, seed, {5: "names/no-file.jpg"})
    write_lost_copies(path, lost, origins, templates=[], workers=0)
    return json.loads(path.read_text())


def pixels(content: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int)


def test_copies_that_did_not_come_first_are_counted() -> None:
    lost = watched([row(1, ATTACKS[0], [1, 2]), row(1, ATTACKS[1], [2, 1]), row(2, ATTACKS[1], [])])
    assert (lost.asked, lost.lost) == (3, 2)
    assert [each.image_index for each in lost.chosen()] == [1, 2]


def test_every_attack_has_its_turn_and_images_are_not_repeated_while_there_are_others() -> None:
    lost = watched([row(image, attack, [0]) for attack in ATTACKS for image in range(1, 40)])
    chosen = lost.chosen()
    assert len(chosen) == lost_copies.SHOWN
    assert [each.attack for each in chosen[:6]] == ["none", "rotation", "auto"] * 2
    assert len({each.image_index for each in chosen}) == lost_copies.SHOWN


def test_of_many_attacks_those_from_all_over_the_grid_are_shown() -> None:
    grid = [Attack("rotation", (("angle", float(angle)),)) for angle in range(100)]
    chosen = watched([row(1, attack, [0]) for attack in grid]).chosen()
    assert len(chosen) == lost_copies.SHOWN
    assert (chosen[0].attack_param, chosen[-1].attack_param) == ("0.0", "99.0")


def test_the_file_tells_what_came_back_with_pictures(tmp_path: Path, queries: dict[int, QueryImage]) -> None:
    rows = [row(100, ATTACKS[1], [101, 100]), row(102, ATTACKS[0], [5]), row(101, ATTACKS[0], [])]
    content = write(tmp_path, rows, queries)
    first, second, third = content["copies"]
    assert (first["attack"], second["attack"]) == ("rotation", "none")
    assert (first["rank"], first["answer"], first["distance"], first["right_distance"]) == (1, 101, 0, 0.25)
    assert (second["rank"], second["answer"], second["answer_name"]) == (None, 5, "names/no-file.jpg")
    assert content["pictures"].keys() >= {"100 sha0", "101 sha1", "102 sha2", "100 sha0 rotation 90.0"}
    assert second["pictures"]["answer"] not in content["pictures"]  # the run has no file of that reference
    turned = pixels(content["pictures"][first["pictures"]["copy"]])
    right = pixels(content["pictures"][first["pictures"]["right"]])
    assert turned.shape == (60, 40, 3)
    assert abs(np.rot90(right) - turned).mean() < 12  # of noise; two JPEG files of it differ
    answers = (third["answer"], third["distance"], third["right_distance"])
    assert answers == (None, None, None)


def test_the_picture_is_of_the_very_copy_that_was_searched(queries: dict[int, QueryImage]) -> None:
    """A random chain draws the same for the picture as it did among other attacks."""
    query, edge = queries[101], 60
    result = perform(
        AttackJob(
            image_id=query.id, path=query.path, attacks=ATTACKS, seed=3, preprocessing=lambda pixels: pixels
        )
    )
    searched = np.asarray(result.inputs[2]).transpose(1, 2, 0)
    job = PictureJob(path=query.path, edge=max(searched.shape), attack=ATTACKS[2], image_id=query.id, seed=3)
    shown = pixels(base64.b64encode(picture(job)).decode())
    assert shown.shape == searched.shape
    other = picture(PictureJob(path=query.path, edge=edge, attack=ATTACKS[2], image_id=query.id, seed=4))
    assert other != picture(job)


def test_pictures_are_kept_and_other_draws_make_others(
    tmp_path: Path, queries: dict[int, QueryImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(100, ATTACKS[1], [101]), row(102, ATTACKS[0], [5])]
    before = write(tmp_path, rows, queries)
    queries[100].path.unlink()  # --save_imgs False
    monkeypatch.setattr(lost_copies, "picture_pool", None)
    with pytest.raises(TypeError):
        write(tmp_path, rows, queries, seed=1)
    monkeypatch.undo()
    monkeypatch.setattr("active_indexing.attacks.pictures.picture", None)  # making one would be an error
    assert write(tmp_path, rows, queries) == before
    fewer = write(tmp_path, rows[1:], queries)
    assert fewer["pictures"].keys() == {"102 sha2", "102 sha2 none"}


def test_a_damaged_file_is_made_anew(tmp_path: Path, queries: dict[int, QueryImage]) -> None:
    (tmp_path / "lost_copies.json").write_text("{")
    assert write(tmp_path, [row(102, ATTACKS[0], [5])], queries)["lost"] == 1


def test_a_file_that_is_no_image_gives_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    assert picture(PictureJob(path=tmp_path / "a.png", edge=20)) == b""
