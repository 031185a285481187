import pickle

import numpy as np
import pytest

from active_indexing.attacks import chain
from active_indexing.attacks.failure import AttackFailed
from active_indexing.attacks.registry import (
    _OWN,
    ATTACKS,
    RANDOM_CHAIN,
    Attack,
    attacks_2,
    default_attacks,
)
from tests.attacks.conftest import made_up

PUBLISHED = [
    ("none", ""),
    ("auto", ""),
    ("meme_format", ""),
    ("overlay_onto_screenshot", ""),
    ("rotation", "25.0"),
    ("rotation", "90.0"),
    ("center_crop", "0.5"),
    ("resize", "0.5"),
    ("blur", "11.0"),
    ("jpeg", "50.0"),
    ("hue", "0.2"),
    ("contrast", "0.5"),
    ("contrast", "2.0"),
    ("brightness", "0.5"),
    ("brightness", "2.0"),
]
EXTRA = tuple(Attack(name) for name in ("overlay_emoji", "grayscale", "hflip", "vflip", RANDOM_CHAIN))
EVERY = (*default_attacks(), *attacks_2(), *EXTRA)


def label(attack):
    return f"{attack.name}-{attack.param_text}"


def test_the_default_list_is_the_published_one_in_its_order():
    assert [(attack.name, attack.param_text) for attack in default_attacks()] == PUBLISHED


def test_the_grid_has_the_104_published_attacks_with_round_values():
    grid = {}
    for attack in attacks_2():
        grid.setdefault(attack.name, []).append(attack.param_text)
    assert {name: len(values) for name, values in grid.items()} == {
        "rotation": 19, "center_crop": 10, "resize": 10, "blur": 14,
        "jpeg": 10, "contrast": 15, "brightness": 15, "hue": 11,
    }  # fmt: skip
    assert grid["rotation"] == [f"{angle}.0" for angle in range(-90, 91, 10)]
    assert grid["resize"] == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]
    assert grid["blur"] == [f"{size}.0" for size in range(3, 30, 2)]
    assert grid["jpeg"] == [f"{quality}.0" for quality in range(10, 101, 10)]
    assert grid["brightness"][:3] + grid["brightness"][-2:] == ["0.5", "0.6", "0.7", "1.8", "1.9"]
    assert grid["hue"] == ["-0.5", "-0.4", "-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]


def test_parameters_have_the_published_names():
    assert {attack.name: attack.params[0][0] for attack in attacks_2()} == {
        "rotation": "angle", "center_crop": "scale", "resize": "scale", "blur": "kernel_size",
        "jpeg": "quality", "hue": "hue_factor", "contrast": "contrast_factor",
        "brightness": "brightness_factor",
    }  # fmt: skip


def test_every_registered_attack_is_run_below():
    assert {attack.name for attack in EVERY} == set(ATTACKS)


@pytest.mark.parametrize("attack", EVERY, ids=label)
@pytest.mark.usefixtures("global_rngs_untouched")
def test_every_attack_gives_an_rgb_image_and_leaves_its_input_alone(attack, photo, rng):
    before = photo.tobytes()
    attacked = attack(photo, rng)
    assert attacked.mode == "RGB"
    assert min(attacked.size) > 0
    assert photo.tobytes() == before
    # No turn of hue is left out: its way through 8-bit HSV rounds some levels.
    if attack.param_text != "0.0":
        same = attacked.size == photo.size and attacked.tobytes() == before
        assert same == (attack.name == "none" or attack.param == 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (3, 2), (31, 17), (640, 3)])
def test_tiny_and_odd_images_are_attacked_or_fail_with_a_reason(size):
    image, failed = made_up(*size), set()
    for attack in EVERY:
        try:
            attacked = attack(image, np.random.default_rng(1))
        except AttackFailed as error:
            failed.add(attack.name)
            assert f"of a {size[0]}x{size[1]} image: " in str(error)  # noqa: PT017 - not all of them fail
        else:
            assert attacked.mode == "RGB"
            assert min(attacked.size) > 0
    assert failed <= {"meme_format", "overlay_onto_screenshot", "center_crop", "resize", "auto", RANDOM_CHAIN}


@pytest.mark.parametrize("attack", EVERY, ids=label)
def test_attacks_can_be_sent_to_a_worker(attack):
    copy = pickle.loads(pickle.dumps(attack))
    assert copy == attack
    assert hash(copy) == hash(attack)


def test_every_attack_of_a_list_has_its_own_random_stream():
    purposes = [attack.purpose for attack in EVERY]
    assert len(purposes) == len(EVERY)
    assert len(set(purposes)) == len({(attack.name, attack.param_text) for attack in EVERY})


def test_auto_is_counted_under_one_name_and_the_random_chain_under_its_own():
    drawn = chain.sample_chain(np.random.default_rng(8))
    auto = Attack("auto").plan(np.random.default_rng(8))
    assert (auto.name, auto.param) == ("auto", "")
    plan = Attack(RANDOM_CHAIN).plan(np.random.default_rng(8))
    assert (plan.name, plan.param) == (chain.chain_name(drawn), chain.chain_json(drawn))


def test_a_caption_on_a_narrow_image_fails_with_the_reason(rng):
    with pytest.raises(AttackFailed, match="meme_format of a 12x200 image: font size must be greater than 0"):
        Attack("meme_format")(made_up(12, 200), rng)


@pytest.mark.parametrize(
    "error", [OSError, ValueError, AssertionError, MemoryError, RuntimeError, ZeroDivisionError]
)
def test_errors_about_an_image_become_failures(monkeypatch, photo, rng, error):
    def broken(image, quality):
        raise error("two\nlines")

    monkeypatch.setitem(_OWN, "jpeg", (broken, ("quality",)))
    with pytest.raises(AttackFailed, match=r"^jpeg of a 323x241 image: two lines$"):
        Attack("jpeg", (("quality", 50),))(photo, rng)


def test_defects_of_the_program_are_no_failures_of_an_image(monkeypatch, photo, rng):
    def broken(image, quality):
        raise AttributeError("getsize_multiline")

    monkeypatch.setitem(_OWN, "jpeg", (broken, ("quality",)))
    with pytest.raises(AttributeError, match="getsize_multiline"):
        Attack("jpeg", (("quality", 50),))(photo, rng)


def test_an_attack_that_leaves_no_pixel_fails(monkeypatch, photo, rng):
    monkeypatch.setitem(_OWN, "hflip", (lambda image: image.crop((5, 5, 5, 9)), ()))
    with pytest.raises(AttackFailed, match="hflip of a 323x241 image: no pixel is left"):
        Attack("hflip")(photo, rng)


def test_an_unknown_attack_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown attack 'sepia'; choose one of none, meme_format, .*vflip"):
        Attack("sepia")


@pytest.mark.parametrize("params", [(), (("degrees", 4),), (("angle", 4), ("scale", 1))])
def test_wrong_parameters_are_refused(params):
    with pytest.raises(ValueError, match=r"attack 'rotation' got parameters .*, expected: angle"):
        Attack("rotation", params)
