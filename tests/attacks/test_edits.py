import io
import math

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from torchvision.transforms.v2 import functional as tv2

from active_indexing.attacks import edits
from tests.attacks.conftest import made_up
from tests.reference import attacks as oracle


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_rotation_by_90_degrees_is_exact_and_counter_clockwise(photo):
    assert np.array_equal(pixels(edits.rotation(photo, 90)), np.rot90(pixels(photo)))


def test_rotation_grows_the_canvas_so_that_nothing_is_cut_off():
    rotated = edits.rotation(Image.new("RGB", (200, 100), "white"), 25)
    sine, cosine = math.sin(math.radians(25)), math.cos(math.radians(25))
    assert rotated.width == pytest.approx(200 * cosine + 100 * sine, abs=2)
    assert rotated.height == pytest.approx(200 * sine + 100 * cosine, abs=2)
    # The area of the image is all there: white pixels, half-covered edges count in part.
    assert pixels(rotated)[..., 0].sum() / 255 == pytest.approx(200 * 100, rel=0.01)


def test_rotation_is_bilinear(photo):
    expected = photo.rotate(30, Image.Resampling.BILINEAR, expand=True)
    assert np.array_equal(pixels(edits.rotation(photo, 30)), pixels(expected))


def test_center_crop_keeps_half_of_the_area_around_the_centre(photo):
    cropped = edits.center_crop(photo, 0.5)
    assert cropped.size == (int(323 * math.sqrt(0.5)), int(241 * math.sqrt(0.5)))  # 228 x 170
    left, top = 48, 36  # (323 - 228) / 2 = 47.5 and (241 - 170) / 2 = 35.5, rounded to even
    assert np.array_equal(pixels(cropped), pixels(photo)[top : top + 170, left : left + 228])


def test_resize_halves_the_area_with_bilinear_interpolation(photo):
    expected = photo.resize((228, 170), Image.Resampling.BILINEAR)
    assert np.array_equal(pixels(edits.resize(photo, 0.5)), pixels(expected))


@pytest.mark.parametrize("edit", [edits.center_crop, edits.resize])
def test_an_area_of_less_than_a_pixel_is_an_error(edit):
    with pytest.raises(ValueError, match=r"no pixel is left at scale 0\.5"):
        edit(made_up(1, 9), 0.5)


def test_blur_of_one_bright_pixel_is_the_kernel():
    point = np.zeros((5, 5, 3), np.uint8)
    point[2, 2] = 255
    # kernel_size 3: sigma 0.8, taps exp(-1 / 1.28) = 0.4578 : 1, normalised 0.23899 and 0.52201
    row = np.array([0, 0.23899, 0.52201, 0.23899, 0])
    expected = np.rint(255 * np.outer(row, row))
    blurred = pixels(edits.blur(Image.fromarray(point), 3))
    for channel in range(3):
        assert np.array_equal(blurred[..., channel], expected)


@pytest.mark.parametrize("kernel_size", [3, 11])
def test_blur_matches_the_loop_oracle(kernel_size):
    image = made_up(17, 13)
    expected = oracle.gaussian_blur(np.asarray(image), kernel_size)
    # Rounding to whole grey levels is worth 0.5; float32 sums move a value across a boundary by about 1e-5.
    assert np.abs(pixels(edits.blur(image, kernel_size)) - expected).max() < 0.5001


@pytest.mark.parametrize("kernel_size", [3, 11, 29])
def test_blur_is_torchvisions_with_its_default_sigma(photo, kernel_size):
    expected = pixels(tv2.gaussian_blur(photo, [kernel_size, kernel_size]))
    difference = np.abs(pixels(edits.blur(photo, kernel_size)) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3  # measured: 4e-5, ties that float32 sums round the other way


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (40, 7), (323, 241)])
@pytest.mark.parametrize("band_pixels", [1, 200])
def test_blur_has_no_seams_and_mirrors_images_smaller_than_its_kernel(size, band_pixels, monkeypatch):
    monkeypatch.setattr(edits, "_BAND_PIXELS", band_pixels)
    image = made_up(*size)
    expected = scipy.ndimage.gaussian_filter(
        pixels(image).astype(float), 0.15 * 11 + 0.35, axes=(0, 1), radius=5, mode="mirror"
    )
    assert np.abs(pixels(edits.blur(image, 11)) - expected).max() < 0.5001


@pytest.mark.parametrize("kernel_size", [0, 4, -3])
def test_blur_with_an_even_kernel_is_an_error(photo, kernel_size):
    with pytest.raises(ValueError, match=f"kernel_size must be odd and positive, got {kernel_size}"):
        edits.blur(photo, kernel_size)


@pytest.mark.parametrize("quality", [10, 50, 100])
def test_jpeg_is_one_round_trip_through_pillows_encoder(photo, quality):
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    assert np.array_equal(pixels(edits.jpeg(photo, quality)), pixels(Image.open(buffer)))


# Pillow's enhancers truncate, torchvision's tensor code truncates elsewhere: at most one grey level apart.
@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("name", ["contrast", "brightness"])
def test_contrast_and_brightness_are_torchvisions(photo, name, factor):
    edited = getattr(edits, name)(photo, factor)
    expected = getattr(tv2, f"adjust_{name}")(tv2.pil_to_tensor(photo), factor)
    assert np.abs(pixels(edited) - expected.permute(1, 2, 0).numpy()).max() <= 1


def test_contrast_moves_levels_away_from_the_mean():
    two = Image.fromarray(np.array([[[100] * 3, [120] * 3]], np.uint8))
    assert pixels(edits.contrast(two, 2.0))[0, :, 0].tolist() == [90, 130]
    assert pixels(edits.contrast(two, 0.5))[0, :, 0].tolist() == [105, 115]


def test_brightness_multiplies_and_clips():
    two = Image.fromarray(np.array([[[100] * 3, [200] * 3]], np.uint8))
    assert pixels(edits.brightness(two, 2.0))[0, :, 0].tolist() == [200, 255]


def test_a_third_of_the_colour_circle_turns_red_into_green():
    turned = pixels(edits.hue(Image.new("RGB", (1, 1), "red"), 1 / 3))[0, 0]
    assert turned[1] == 255
    assert turned[[0, 2]].max() <= 3  # 85/256 of a turn is not exactly a third


def test_no_turn_of_hue_keeps_a_grey_image():
    grey = Image.new("RGB", (2, 2), (90, 90, 90))
    assert np.array_equal(pixels(edits.hue(grey, 0.2)), pixels(grey))


def test_meme_puts_a_white_caption_of_250_pixels_on_top(photo):
    meme = pixels(edits.meme_format(photo))
    assert meme.shape == (241 + 250, 323, 3)
    assert np.array_equal(meme[250:], pixels(photo))
    caption = meme[:250, :, 0]
    assert (caption[0] == 255).all()
    assert (caption[:, :4] == 255).all()
    assert 0.1 < (caption < 128).mean() < 0.5  # black letters
    assert (meme[:250] == caption[..., None]).all()


@pytest.mark.parametrize(
    ("name", "size", "box"),
    [("web", (1200, 736), (254, 424, 783, 710)), ("mobile", (414, 736), (27, 411, 389, 689))],
)
def test_screenshots_show_the_whole_image_scaled_into_the_box(name, size, box):
    red = Image.new("RGB", (600, 300), (250, 10, 10))
    shot = edits.overlay_onto_screenshot(red, name)
    assert shot.size == size
    inside = pixels(shot.crop(box))
    is_red = (inside == (250, 10, 10)).all(axis=2)
    height, width = is_red.shape
    assert is_red.any(axis=0).all()  # as wide as the box
    assert is_red.any(axis=1).sum() == pytest.approx(width / 2, abs=1)  # aspect ratio kept
    assert (inside[~is_red] == 0).all()  # the rest of the box is black
    assert height > width / 2


def test_grayscale_is_the_luma_in_every_channel(photo):
    grey = pixels(edits.grayscale(photo))
    assert np.abs(grey - (pixels(photo) @ [0.299, 0.587, 0.114])[..., None]).max() <= 1


def test_flips_mirror(photo):
    assert np.array_equal(pixels(edits.hflip(photo)), pixels(photo)[:, ::-1])
    assert np.array_equal(pixels(edits.vflip(photo)), pixels(photo)[::-1])


def test_the_default_emoji_is_placed_below_the_middle(photo):
    changed = (pixels(edits.overlay_emoji(photo)) != pixels(photo)).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() >= int(0.8 * 241)
    assert columns.min() >= int(0.4 * 323)
    assert columns.max() - columns.min() <= int(0.15 * 241)


def test_no_edit_gives_back_the_object_it_was_given(photo):
    assert edits.none(photo) is not photo
    assert np.array_equal(pixels(edits.none(photo)), pixels(photo))


def test_a_canvas_that_would_not_fit_into_memory_is_an_error():
    scroll = Image.new("L", (100, 40_000))  # the check comes before any pixel is touched
    with pytest.raises(ValueError, match="needs a canvas of 804 megapixels, more than 268"):
        edits.rotation(scroll, 45)
