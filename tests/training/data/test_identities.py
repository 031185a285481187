"""Identities by file names, and balanced batches of them."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from active_indexing.training.config import TrainingImages
from active_indexing.training.data.batches import Batches, open_banks
from active_indexing.training.data.identities import BalancedRows, identities_of
from active_indexing.training.data.side_images import SideBatches

CPU = torch.device("cpu")


def test_identities_are_the_numbers_before_the_underscore_counted_over_all_sources():
    found = identities_of([["a/17_0.jpg", "3_x.png", "17_9.jpg"], ["99_0.jpg", "3_1.jpg"]])
    assert [each.tolist() for each in found] == [[1, 0, 1], [2, 0]]
    with pytest.raises(ValueError, match=r"the image cat.jpg has no identity in its name; this recipe needs"):
        identities_of([["17_0.jpg", "cat.jpg"]])


def test_rows_are_of_the_identity_asked_for_and_repeat_only_where_there_are_too_few():
    identities = torch.tensor([5, 2, 5, 2, 5, 8])
    balanced = BalancedRows(identities, 3)
    assert balanced.known.tolist() == [2, 5, 8]
    rows = balanced.rows(torch.tensor([1, 0, 2]), torch.Generator().manual_seed(0))
    assert identities[rows].tolist() == [5] * 3 + [2] * 3 + [8] * 3
    assert sorted(rows[:3].tolist()) == [0, 2, 4]


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """12 images of 6 identities, two each; the red value is ten times the identity."""
    folder = tmp_path_factory.mktemp("named")
    (folder / "images").mkdir()
    for number in range(12):
        colour = (10 * (number % 6), number, 0)
        Image.new("RGB", (8, 8), colour).save(folder / "images" / f"{number % 6 + 40}_{number}.png")
    return open_banks((TrainingImages(folder / "images", 8, 4),), folder)[0]


def test_a_bank_knows_the_names_of_its_images(bank):
    assert bank.names()[:3] == ["40_0.png", "40_6.png", "41_1.png"]
    path = Path(bank.path).with_suffix(".names.json")
    kept = path.read_text()
    path.unlink()
    with pytest.raises(FileNotFoundError, match="made by an older program, without names; delete it"):
        bank.names()
    path.write_text(json.dumps(json.loads(kept)))


def test_an_epoch_of_two_processes_has_every_identity_once(bank):
    batches = Batches([bank], [2], 0, world_size=2, instances=2)
    seen = []
    for step in range(3):
        for rank in range(2):
            (batch,) = batches.at(step, rank)
            assert torch.equal(batch.images[:, 0, 0, 0].long(), 10 * batch.numbers)
            assert batch.numbers[0] == batch.numbers[1]
            assert batch.images[0, 1, 0, 0] != batch.images[1, 1, 0, 0]  # two images, not one twice
            seen.append(int(batch.numbers[0]))
    assert sorted(seen) == list(range(6))
    again = batches.at(1, 1)[0]
    assert torch.equal(again.images, batches.at(1, 1)[0].images)
    assert not torch.equal(again.images, batches.at(4, 1)[0].images)


def test_batches_that_do_not_fit_are_named(bank):
    with pytest.raises(ValueError, match="gives 3 images per step, which is no multiple of the 2"):
        Batches([bank], [3], 0, instances=2)
    with pytest.raises(ValueError, match="has 6 identities, but a step takes 7 in each of 1 processes"):
        Batches([bank], [14], 0, instances=2)


def test_images_beside_the_views_are_squeezed_and_come_in_pairs(bank):
    side = SideBatches(Batches([bank], [3], 0), Batches([bank], [4], 0, instances=2)).at(0, 0, 5, CPU)
    assert (side.support.shape, side.pairs.shape) == ((3, 3, 5, 5), (4, 3, 5, 5))
    assert side.pair_numbers[::2].tolist() == side.pair_numbers[1::2].tolist()
    torch.testing.assert_close(side.pairs[:, 0, 0, 0] * 255, 10.0 * side.pair_numbers)
    assert SideBatches().at(0, 0, 5, CPU) == (None, None, None)
