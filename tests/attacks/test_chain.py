import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from active_indexing.attacks import augly_compat, chain
from active_indexing.attacks.failure import AttackFailed
from tests.attacks.conftest import made_up

FILTERS = {name: sampler for family in chain.FAMILIES.values() for name, sampler in family.items()}
FAMILY_OF = {name: family for family, filters in chain.FAMILIES.items() for name in filters}
# Published parameter distributions: uniform on [low, high).
UNIFORM = {
    ("brightness", "factor"): (0.1, 1.9),
    ("saturation", "factor"): (2, 5),
    ("overlay_emoji", "x_pos"): (0, 0.8),
    ("overlay_emoji", "y_pos"): (0, 0.8),
    ("overlay_emoji", "opacity"): (0.5, 1),
    ("overlay_emoji", "emoji_size"): (0.4, 0.8),
    ("overlay_text", "font_size"): (0.1, 0.3),
    ("overlay_text", "x_pos"): (0, 0.6),
    ("overlay_text", "y_pos"): (0, 0.6),
    ("blur", "radius"): (5, 10),
    ("pixelization", "ratio"): (0.2, 0.5),
    ("shuffle_pixels", "factor"): (0.1, 0.3),
    ("shuffle_pixels", "seed"): (0, 2**32),
    ("change_aspect_ratio", "ratio"): (0.5, 2),
    ("perspective_transform", "sigma"): (30, 60),
    ("perspective_transform", "seed"): (0, 2**32),
    ("rotate", "degrees"): (-90, 90),
}
# Published parameter distributions: each of these values equally often.
DISCRETE = {
    ("convert_color", "colors"): range(2, 17),
    ("encoding_quality", "quality"): range(5, 26),
    ("overlay_onto_screenshot", "template_filepath"): ["web.png", "mobile.png"],
    ("convert_color", "mode"): ["P"],
    ("overlay_onto_screenshot", "crop_src_to_fit"): [True],
    ("perspective_transform", "crop_out_black_border"): [True],
}
FAMILIES = {
    "color": {"brightness", "grayscale", "saturation"},
    "overlay": {"overlay_emoji", "overlay_text"},
    "pixel-level": {
        "blur",
        "convert_color",
        "encoding_quality",
        "apply_pil_filter",
        "pixelization",
        "shuffle_pixels",
    },
    "spatial": {
        "crop",
        "hflip",
        "change_aspect_ratio",
        "overlay_onto_screenshot",
        "pad_square",
        "perspective_transform",
        "rotate",
    },
}


def draws(name, parameter, count=2000):
    rng = np.random.default_rng(11)
    return [FILTERS[name](rng)[parameter] for _ in range(count)]


def assert_equally_often(values, choices):
    """Every choice appears, none deviates by five standard deviations."""
    counts, expected = Counter(values), len(values) / len(choices)
    assert set(counts) == set(choices)
    deviation = (expected * (1 - 1 / len(choices))) ** 0.5
    assert all(abs(count - expected) <= 5 * deviation for count in counts.values())


def assert_uniform(values, low, high):
    """Within the range, with the distribution function of a uniform variable (Kolmogorov, p about 1e-6)."""
    values = np.sort(values)
    assert values[0] >= low
    assert values[-1] <= high
    steps = np.arange(1, len(values) + 1) / len(values)
    assert np.abs((values - low) / (high - low) - steps).max() < 2.7 / len(values) ** 0.5


@pytest.fixture(scope="module")
def chains():
    rng = np.random.default_rng(5)
    return [chain.sample_chain(rng) for _ in range(6000)]


def test_the_families_are_the_published_ones():
    assert {family: set(filters) for family, filters in chain.FAMILIES.items()} == FAMILIES


@pytest.mark.parametrize(("name", "parameter"), UNIFORM)
def test_parameter_is_uniform_in_the_published_range(name, parameter):
    assert_uniform(draws(name, parameter), *UNIFORM[name, parameter])


@pytest.mark.parametrize(("name", "parameter"), DISCRETE)
def test_parameter_takes_the_published_values_equally_often(name, parameter):
    assert_equally_often(draws(name, parameter), list(DISCRETE[name, parameter]))


@pytest.mark.parametrize("name", ["pad_square", "overlay_text"])
def test_colours_are_three_values_from_0_to_254(name):
    colours = np.array(draws(name, "color", 9000))
    assert colours.shape == (9000, 3)
    for channel in range(3):
        assert_equally_often(colours[:, channel].tolist(), range(255))


def test_text_is_5_to_15_numbers_from_0_to_10000():
    texts = draws("overlay_text", "text", 4000)
    assert_equally_often([len(text) for text in texts], range(5, 16))
    assert_uniform(np.concatenate(texts), 0, 10_000)


def test_fonts_and_emojis_are_uniform_over_all_of_them():
    assert_equally_often(draws("overlay_text", "font_file", 12_000), augly_compat.fonts())
    assert_equally_often(draws("overlay_emoji", "emoji_path", 24_000), augly_compat.emojis())


def test_crop_keeps_30_to_60_percent_of_each_edge_anywhere():
    rng = np.random.default_rng(2)
    boxes = [FILTERS["crop"](rng) for _ in range(2000)]
    assert all(list(box) == ["x1", "y1", "x2", "y2"] for box in boxes)
    for start, stop in (("x1", "x2"), ("y1", "y2")):
        lengths = np.array([box[stop] - box[start] for box in boxes])
        assert_uniform(lengths, 0.3 - 1e-12, 0.6 + 1e-12)
        starts = np.array([box[start] for box in boxes])
        assert_uniform(starts / (1 - lengths), 0, 1)
        assert max(box[stop] for box in boxes) <= 1


def test_the_remaining_filters_have_no_parameters(rng):
    without = {name for name in FILTERS if not FILTERS[name](rng)}
    assert without == {"grayscale", "apply_pil_filter", "hflip"}


def test_chain_lengths_have_the_published_probabilities(chains):
    counts = Counter(map(len, chains))
    for length, probability in {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}.items():
        deviation = (6000 * probability * (1 - probability)) ** 0.5
        assert abs(counts[length] - 6000 * probability) <= 5 * deviation


def test_families_are_drawn_without_replacement_and_equally_often(chains):
    for edits in chains:
        families = [FAMILY_OF[edit.name] for edit in edits]
        assert len(set(families)) == len(families)
    assert_equally_often([FAMILY_OF[edits[0].name] for edits in chains if len(edits) == 1], list(FAMILIES))


def test_filters_are_uniform_within_their_family(chains):
    names = [edit.name for edits in chains for edit in edits]
    for filters in FAMILIES.values():
        assert_equally_often([name for name in names if name in filters], list(filters))


def test_crop_comes_first_and_convert_color_last_and_others_in_any_order(chains):
    for edits in chains:
        names = [edit.name for edit in edits]
        assert "crop" not in names[1:]
        assert "convert_color" not in names[:-1]
    pairs = {(a.name, b.name) for a, b in (edits for edits in chains if len(edits) == 2)}
    assert {("blur", "rotate"), ("rotate", "blur")} <= pairs


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.usefixtures("global_rngs_untouched")
def test_every_filter_edits_a_photo(name, photo):
    for seed in range(3):
        edit = chain.Edit(name, tuple(FILTERS[name](np.random.default_rng(seed)).items()))
        try:
            edited = chain.apply_chain(photo, (edit,))
        except AttackFailed as error:
            assert name == "perspective_transform"
            assert "Cannot crop out black border" in str(error)  # noqa: PT017
            continue
        assert edited.mode == "RGB"
        assert edited.size != photo.size or edited.tobytes() != photo.tobytes()
        break
    else:
        pytest.fail(f"{name} failed for every seed")


def test_a_chain_depends_on_the_generator_alone(photo):
    first = chain.sample_chain(np.random.default_rng(4))
    np.random.seed(1)
    assert chain.sample_chain(np.random.default_rng(4)) == first
    assert chain.sample_chain(np.random.default_rng(5)) != first
    before = chain.apply_chain(photo, first)
    np.random.seed(2)
    assert chain.apply_chain(photo, first).tobytes() == before.tobytes()


@pytest.mark.parametrize("name", ["shuffle_pixels", "perspective_transform"])
def test_augly_takes_its_seed_from_the_chain(name):
    image, params = made_up(400, 300), FILTERS[name](np.random.default_rng(1))
    outputs = set()
    for seed in (1, 1, 2):
        edit = chain.Edit(name, tuple({**params, "seed": seed}.items()))
        outputs.add(chain.apply_chain(image, (edit,)).tobytes())
    assert len(outputs) == 2


def test_a_chain_is_named_after_its_edits_and_written_as_one_line_of_json(chains):
    edits = (chain.Edit("crop", (("x1", 0.25), ("x2", 0.5))), chain.Edit("hflip"))
    assert chain.chain_name(edits) == "crop+hflip"
    assert chain.chain_json(edits) == '[{"name":"crop","x1":0.25,"x2":0.5},{"name":"hflip"}]'
    for drawn in chains[:200]:
        text = chain.chain_json(drawn)
        assert len(text.splitlines()) == 1
        assert text.isascii()
        assert [edit["name"] for edit in json.loads(text)] == [edit.name for edit in drawn]


def test_a_chain_can_be_repeated_from_its_json(photo):
    for seed in range(6):
        edits = chain.sample_chain(np.random.default_rng(seed))
        read = [dict(edit) for edit in json.loads(chain.chain_json(edits))]
        repeated = tuple(chain.Edit(edit.pop("name"), tuple(edit.items())) for edit in read)
        try:
            expected = chain.apply_chain(photo, edits).tobytes()
        except AttackFailed:
            continue
        assert chain.apply_chain(photo, repeated).tobytes() == expected


def test_perspective_of_a_small_image_fails_with_the_reason():
    edit = chain.Edit(
        "perspective_transform", (("sigma", 60.0), ("crop_out_black_border", True), ("seed", 42))
    )
    with pytest.raises(
        AttackFailed, match="perspective_transform of a 20x20 image: Cannot crop out black border"
    ):
        chain.apply_chain(made_up(20, 20), (edit,))


def test_a_crop_that_leaves_no_pixel_fails_with_the_reason():
    edit = chain.Edit("crop", (("x1", 0.5), ("y1", 0.0), ("x2", 0.9), ("y2", 0.5)))
    with pytest.raises(AttackFailed, match="crop of a 2x2 image: no pixel is left"):
        chain.apply_chain(made_up(2, 2), (edit,))


@pytest.mark.parametrize(
    "edit",
    [
        chain.Edit("pad_square", (("color", (0, 0, 0)),)),
        chain.Edit("rotate", (("degrees", 45.0),)),
        chain.Edit("overlay_emoji", (("emoji_size", 0.8),)),
    ],
)
def test_an_edit_of_a_scroll_that_would_not_fit_into_memory_fails_with_the_reason(edit):
    with pytest.raises(
        AttackFailed, match=f"{edit.name} of a 9x40000 image: needs a canvas of [0-9]+ megapixels"
    ):
        chain.apply_chain(Image.new("RGB", (9, 40_000)), (edit,))
