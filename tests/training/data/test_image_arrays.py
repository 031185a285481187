import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from active_indexing.training.config import TrainingImages
from active_indexing.training.data.batches import Batches, open_banks
from active_indexing.training.data.image_arrays import ImageArray, make_bank
from tests.training.images import made_up_images, write_folder


def test_a_folder_becomes_an_array_of_its_images_in_sorted_order(tmp_path):
    folder = write_folder(tmp_path / "images", count=5)
    assert make_bank(folder, tmp_path / "bank.npy", 32) == []
    np.testing.assert_array_equal(ImageArray(tmp_path / "bank.npy").array, made_up_images(5))


def test_a_tar_file_gives_the_same_array_as_its_folder(tmp_path):
    folder = write_folder(tmp_path / "images", count=5)
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, f"deep/{path.name}")
    make_bank(tmp_path / "images.tar.gz", tmp_path / "bank.npy", 32)
    np.testing.assert_array_equal(ImageArray(tmp_path / "bank.npy").array, made_up_images(5))


def test_images_of_any_shape_are_squeezed_and_unreadable_ones_named(tmp_path):
    folder = write_folder(tmp_path / "images", count=2)
    Image.new("L", (50, 20), 77).save(folder / "zz.png")
    (folder / "broken.jpg").write_text("no image")
    (left_out,) = make_bank(folder, tmp_path / "bank.npy", 16)
    assert "broken.jpg" in left_out
    bank = ImageArray(tmp_path / "bank.npy")
    assert bank.array.shape == (3, 3, 16, 16)
    assert np.all(bank.array[2] == 77)


def test_a_limit_takes_the_first_images_only(tmp_path):
    source = TrainingImages(write_folder(tmp_path / "images", count=6), edge=32, images=1, limit=4)
    (bank,) = open_banks((source,), tmp_path / "banks")
    assert len(bank) == 4
    assert len(open_banks((source,), tmp_path / "banks")[0]) == 4


def test_an_epoch_shows_every_image_once_over_all_processes_and_sources_have_their_own_numbers(tmp_path):
    folder = write_folder(tmp_path / "images", count=12)
    sources = (TrainingImages(folder, 32, 3), TrainingImages(folder, 16, 1, limit=4))
    batches = Batches(open_banks(sources, tmp_path / "banks"), [3, 1], seed=0, world_size=2)
    seen = [batches.at(step, rank) for step in range(2) for rank in range(2)]
    first = torch.cat([batch[0].numbers for batch in seen])
    second = torch.cat([batch[1].numbers for batch in seen])
    assert sorted(first.tolist()) == list(range(12))
    assert sorted(second.tolist()) == [12, 13, 14, 15]
    order = [batches.at(step)[0].numbers.tolist() for step in range(2)]
    assert order != [batches.at(step)[0].numbers.tolist() for step in range(2, 4)]
    images = batches.at(1, 1)[0]
    np.testing.assert_array_equal(images.images.numpy(), made_up_images(12)[images.numbers.numpy()])


def test_a_source_without_images_is_refused_and_nothing_is_written(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no readable image; 0 could not be read"):
        make_bank(tmp_path / "empty", tmp_path / "bank.npy", 32)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_absent_training_images_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training images .*nowhere do not exist; check the path"):
        make_bank(tmp_path / "nowhere", tmp_path / "bank.npy", 32)


def test_an_array_of_another_shape_is_no_bank(tmp_path):
    np.save(tmp_path / "bank.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"holds \(3, 4\) float64, expected \(N, 3, S, S\) uint8"):
        ImageArray(tmp_path / "bank.npy")


def test_a_step_larger_than_its_source_is_refused(tmp_path):
    make_bank(write_folder(tmp_path / "images", count=3), tmp_path / "bank.npy", 32)
    with pytest.raises(ValueError, match="source 0 has 3 images, but a step takes 2 in each of 2 processes"):
        Batches([ImageArray(tmp_path / "bank.npy")], [2], seed=0, world_size=2)
