"""EvaluationStage image by image, with a made-up descriptor and an exact index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from active_indexing.attacks.jobs import attack_pool
from active_indexing.attacks.registry import _OWN, RANDOM_CHAIN, Attack
from active_indexing.descriptors.batching import describe_blocks
from active_indexing.descriptors.descriptor import Descriptor
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.evaluation.stage import EvaluationStage, QueryImage
from active_indexing.images import decoding, tensors
from active_indexing.index.vector_index import VectorIndex, new_index
from active_indexing.records import NO_MATCH, QueryRow
from tests.conftest import pattern

ATTACKS = (Attack("none"), Attack("center_crop", (("scale", 0.5),)), Attack("hflip"))


class Mean(torch.nn.Module):
    """Mean colours of four quarters: (B, 3, 8, 8) to (B, 12)."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(inputs, 4).flatten(1)


@pytest.fixture(scope="module")
def descriptor() -> Descriptor:
    return Descriptor(Mean(), Preprocessing(8), model="mean", architecture={"kind": "mean"})


@pytest.fixture
def queries(tmp_path: Path) -> list[QueryImage]:
    """Five images; the last two have no match."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.fromarray(pattern(rng, 32, 40)).save(path)
        found.append(QueryImage(number + 10, path, number + 10 if number < 3 else NO_MATCH, "v1"))
    return found


@pytest.fixture
def index(queries: list[QueryImage], descriptor: Descriptor) -> VectorIndex:
    made = new_index("Flat", "L2", descriptor.dim)
    for query in queries[:3]:
        pixels = tensors.to_tensor(decoding.read(query.path).srgb)
        made.add(
            describe_blocks([descriptor.preprocessing(pixels).numpy()], descriptor), np.array([query.id])
        )
    return made


@pytest.fixture(autouse=True)
def opened() -> Iterator[list[EvaluationStage]]:
    """Evaluations to be closed at the end."""
    evaluations: list[EvaluationStage] = []
    with pytest.MonkeyPatch.context() as patch:
        make = EvaluationStage.__init__

        def made(self: EvaluationStage, *arguments: Any) -> None:
            make(self, *arguments)
            evaluations.append(self)

        patch.setattr(EvaluationStage, "__init__", made)
        yield evaluations
    for evaluation in evaluations:
        evaluation.close()


def evaluated(
    folder: Path,
    queries: list[QueryImage],
    descriptor: Descriptor,
    index: VectorIndex,
    attacks: tuple[Attack, ...] = ATTACKS,
    settings: dict | None = None,
) -> EvaluationStage:
    evaluation = EvaluationStage("retrieval", folder / "journal", settings or {}, queries, attacks)
    with attack_pool(0) as pool:
        evaluation.run(descriptor, index, pool, k=2, seed=0, threads=2, progress=False)
    return evaluation


def told(evaluation: EvaluationStage, size: int) -> list[tuple[int, int, str]]:
    return [(block, row.image_index, row.attack) for block, row in evaluation.blocks(size)]


def test_blocks_are_images_then_attacks_then_images_and_matches_are_counted_apart(
    tmp_path: Path, queries: list[QueryImage], descriptor: Descriptor, index: VectorIndex
) -> None:
    rows = told(evaluated(tmp_path, queries, descriptor, index), 2)
    names = ["none", "center_crop", "hflip"]
    assert rows == [
        *((0, id_, name) for name in names for id_ in (10, 11)),
        *((1, 12, name) for name in names),
        *((0, NO_MATCH, name) for name in names for _ in range(2)),
    ]


def test_the_clean_copy_is_found_first_at_distance_zero(
    tmp_path: Path, queries: list[QueryImage], descriptor: Descriptor, index: VectorIndex
) -> None:
    rows = [row for _, row in evaluated(tmp_path, queries[:3], descriptor, index).blocks(9)]
    assert [(row.rank, row.distances[0]) for row in rows[:3]] == [(0, 0)] * 3
    assert all(len(row.ids) == len(row.distances) == 2 for row in rows)


def test_an_image_that_cannot_be_read_fails_and_takes_no_other_place(
    tmp_path: Path, queries: list[QueryImage], descriptor: Descriptor, index: VectorIndex
) -> None:
    queries[1].path.write_bytes(b"damaged")
    evaluation = evaluated(tmp_path, queries, descriptor, index)
    assert [id_ for _, id_, _ in told(evaluation, 9)] == [10, 12] * 3 + [NO_MATCH] * 6
    failures = list(evaluation.failures())
    assert [(f.stage, f.image_index, f.path, f.attack, f.attack_param) for f in failures] == [
        ("retrieval", 11, queries[1].path, attack.name, attack.param_text) for attack in ATTACKS
    ]
    assert failures[0].reason.startswith("not a readable image")


def test_answers_on_record_come_back_bit_for_bit_and_only_new_queries_are_done(
    tmp_path: Path, queries: list[QueryImage], descriptor: Descriptor, index: VectorIndex
) -> None:
    first = evaluated(tmp_path, queries[:2], descriptor, index)
    before = [row for _, row in first.blocks(9)]
    first.close()
    changed = QueryImage(queries[0].id, queries[0].path, queries[0].image_index, "v2")
    second = EvaluationStage("retrieval", tmp_path / "journal", {}, [changed, *queries[1:3]], ATTACKS)
    assert second.todo == [changed, queries[2]]
    with attack_pool(0) as pool:
        second.run(descriptor, index, pool, k=2, seed=0, threads=1, progress=False)
    after = {(row.image_index, row.attack): row for _, row in second.blocks(9)}
    assert len(after) == 9
    for row in before:
        assert_same(row, after[row.image_index, row.attack])
    second.close()


def assert_same(one: QueryRow, other: QueryRow) -> None:
    assert (one.ids.dtype, one.distances.dtype) == (other.ids.dtype, other.distances.dtype)
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.distances, other.distances)


def test_other_settings_start_over(
    tmp_path: Path, queries: list[QueryImage], descriptor: Descriptor, index: VectorIndex
) -> None:
    evaluated(tmp_path, queries, descriptor, index).close()
    again = EvaluationStage("retrieval", tmp_path / "journal", {"seed": 1}, queries, ATTACKS)
    assert again.todo == queries
    again.close()


def test_an_answer_does_not_depend_on_which_other_attacks_ran(
    tmp_path: Path, queries: list[QueryImage], descriptor: Descriptor, index: VectorIndex
) -> None:
    together = [row for _, row in evaluated(tmp_path / "all", queries, descriptor, index).blocks(9)]
    for attack in ATTACKS:
        alone = evaluated(tmp_path / attack.name, queries, descriptor, index, (attack,))
        same = [row for row in together if row.attack == attack.name]
        for one, (_, other) in zip(same, alone.blocks(9), strict=True):
            assert_same(one, other)


def test_random_chains_are_reported_under_their_own_names(
    tmp_path: Path, queries: list[QueryImage], descriptor: Descriptor, index: VectorIndex
) -> None:
    evaluation = evaluated(tmp_path, queries, descriptor, index, (Attack(RANDOM_CHAIN),))
    found = [(row.attack, row.attack_param) for _, row in evaluation.blocks(9)]
    found += [(failure.attack, failure.attack_param) for failure in evaluation.failures()]
    assert len(found) == 5
    assert len(set(found)) == 5
    assert RANDOM_CHAIN not in [name for name, _ in found]


def test_a_failed_attack_moves_no_other_answer(
    tmp_path: Path, queries: list[QueryImage], descriptor: Descriptor, index: VectorIndex
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        expected = [row for _, row in evaluated(tmp_path / "all", queries, descriptor, index).blocks(9)]
        patch.setitem(_OWN, "center_crop", (fail_on_wide_images, ("scale",)))
        Image.new("RGB", (60, 20)).save(queries[1].path)
        evaluation = evaluated(tmp_path / "some", queries, descriptor, index)
    assert [(f.image_index, f.attack, f.reason) for f in evaluation.failures()] == [
        (11, "center_crop", "center_crop of a 60x20 image: too wide")
    ]
    others = [row for row in expected if row.image_index != 11]
    found = [row for _, row in evaluation.blocks(9) if row.image_index != 11]
    for one, other in zip(others, found, strict=True):
        assert one.attack == other.attack
        if one.attack != "center_crop":
            assert_same(one, other)


def fail_on_wide_images(image: Image.Image, scale: float) -> Image.Image:
    if image.width > 2 * image.height:
        raise ValueError("too wide")
    return image


@pytest.mark.parametrize("done", [1, 2, 3])
def test_images_described_together_have_the_answers_that_they_have_alone(
    tmp_path: Path, queries: list[QueryImage], descriptor: Descriptor, index: VectorIndex, done: int
) -> None:
    attacks = (Attack("hflip"),)
    whole = [row for _, row in evaluated(tmp_path / "whole", queries, descriptor, index, attacks).blocks(9)]
    evaluated(tmp_path / "cut", queries[:done], descriptor, index, attacks).close()
    resumed = evaluated(tmp_path / "cut", queries, descriptor, index, attacks)
    for one, (_, other) in zip(whole, resumed.blocks(9), strict=True):
        assert one.image_index == other.image_index
        assert_same(one, other)
    lines = (tmp_path / "cut" / "journal" / "retrieval.jsonl").read_text().splitlines()
    assert len(lines) == 1 + len(queries)
