import numpy as np
import pytest
import torch
from PIL import Image

from active_indexing import seeding
from active_indexing.attacks import chain
from active_indexing.attacks.jobs import AttackJob, perform
from active_indexing.attacks.registry import RANDOM_CHAIN, Attack, attacks_2, default_attacks
from active_indexing.images import decoding
from tests.attacks import preprocessings
from tests.attacks.conftest import made_up


@pytest.fixture
def path(tmp_path):
    made_up(90, 70).save(tmp_path / "released.png")
    return tmp_path / "released.png"


def job(path, attacks, image_id=3, seed=0, preprocessing=preprocessings.whole):
    return AttackJob(
        image_id=image_id, path=path, attacks=tuple(attacks), seed=seed, preprocessing=preprocessing
    )


def test_inputs_are_the_attacked_released_file_in_unit_range(path):
    result = perform(job(path, [Attack("none"), Attack("hflip")]))
    released = np.asarray(Image.open(path)).transpose(2, 0, 1).astype(np.float32) / 255
    assert result.image_id == 3
    assert result.attacks == (("none", ""), ("hflip", ""))
    assert result.failures == ()
    assert result.inputs[0].dtype == np.float32
    np.testing.assert_array_equal(result.inputs[0], released)
    np.testing.assert_array_equal(result.inputs[1], released[:, :, ::-1])


def test_inputs_are_contiguous_and_own_their_memory(path):
    (crop,) = perform(job(path, [Attack("none")], preprocessing=preprocessings.small)).inputs
    assert crop.shape == (3, 8, 8)
    assert crop.flags.c_contiguous


def test_sizes_may_differ_from_attack_to_attack(path):
    attacks = [Attack("center_crop", (("scale", 0.5),)), Attack("rotation", (("angle", 90),))]
    assert [x.shape for x in perform(job(path, attacks)).inputs] == [(3, 49, 63), (3, 90, 70)]


def test_the_file_is_decoded_once(path, monkeypatch):
    read, calls = decoding.read, []
    monkeypatch.setattr(decoding, "read", lambda path: calls.append(path) or read(path))
    perform(job(path, default_attacks()))
    assert calls == [path]


def test_results_do_not_depend_on_which_attacks_ran_or_in_which_order(path):
    every = [*default_attacks(), Attack(RANDOM_CHAIN)]
    together = perform(job(path, every))
    assert len(together.attacks) + len(together.failures) == 16
    reverse = perform(job(path, every[::-1]))
    assert reverse.attacks == together.attacks[::-1]
    for one, other in zip(together.inputs, reverse.inputs[::-1], strict=True):
        np.testing.assert_array_equal(one, other)
    alone = perform(job(path, [Attack("auto")]))
    np.testing.assert_array_equal(alone.inputs[0], together.inputs[1])


def test_chains_depend_on_the_seed_and_the_image(path):
    def drawn(seed, image_id):
        result = perform(job(path, [Attack(RANDOM_CHAIN)], image_id, seed))
        return (result.attacks or result.failures)[0][:2]

    draws = {drawn(seed, image_id) for seed in (0, 1) for image_id in (3, 4)}
    assert len(draws) == 4
    assert drawn(0, 3) == drawn(0, 3)


def test_a_random_chain_is_reported_with_its_own_name_and_json(path):
    attack = Attack(RANDOM_CHAIN)
    drawn = chain.sample_chain(seeding.generator_for(0, 3, attack.purpose))
    result = perform(job(path, [attack]))
    assert result.attacks == ((chain.chain_name(drawn), chain.chain_json(drawn)),)


def test_a_failed_attack_is_listed_with_its_reason_and_no_clean_image_in_its_place(tmp_path):
    made_up(12, 12).save(tmp_path / "tiny.png")
    result = perform(job(tmp_path / "tiny.png", [Attack("meme_format"), Attack("none")]))
    assert result.attacks == (("none", ""),)
    assert len(result.inputs) == 1
    assert result.failures == (
        ("meme_format", "", "meme_format of a 12x12 image: font size must be greater than 0, not 0"),
    )


@pytest.mark.parametrize("content", [None, b"no image"])
def test_a_file_that_cannot_be_read_fails_all_its_attacks(tmp_path, content):
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(decoding.UnreadableImage) as error:
        decoding.read(path)
    result = perform(job(path, [Attack("none"), *attacks_2()[:2]]))
    assert result.inputs == result.attacks == ()
    reason = str(error.value)
    assert result.failures == (
        ("none", "", reason),
        ("rotation", "-90.0", reason),
        ("rotation", "-80.0", reason),
    )


def test_transparent_and_grey_files_are_attacked_as_their_rgb_view(tmp_path):
    Image.new("LA", (6, 5), (0, 0)).save(tmp_path / "transparent.png")
    (view,) = perform(job(tmp_path / "transparent.png", [Attack("none")])).inputs
    np.testing.assert_array_equal(view, np.ones((3, 5, 6), np.float32))


@pytest.mark.usefixtures("global_rngs_untouched")
def test_global_generators_are_left_alone(path):
    state = torch.get_rng_state()
    perform(job(path, [*default_attacks(), Attack(RANDOM_CHAIN)]))
    assert torch.equal(torch.get_rng_state(), state)
