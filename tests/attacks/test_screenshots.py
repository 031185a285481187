import json
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from active_indexing.attacks import screenshots
from active_indexing.attacks.edits import overlay_onto_screenshot
from active_indexing.attacks.registry import Attack, default_attacks


def template(folder, box=(2, 3, 22, 18), name="shot.png", mode="RGB"):
    path = folder / name
    Image.new(mode, (40, 30)).save(path)
    if box is not None:
        path.with_suffix(".json").write_text(json.dumps({name: box}))
    return path


def write_empty_png(path, width, height):
    """A PNG that says how large it is and holds no pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT")
    content = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))


@pytest.mark.parametrize("name", screenshots.BUILT_IN)
def test_built_in_templates_are_names(name):
    assert screenshots.check_template(name) == name


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_the_image_appears_in_the_box_of_an_own_template(tmp_path, mode):
    checked = screenshots.check_template(str(template(tmp_path, mode=mode)))
    pixels = np.asarray(overlay_onto_screenshot(Image.new("RGB", (40, 30), "white"), checked))
    assert pixels.shape == (30, 40, 3)
    inside = np.zeros((30, 40), bool)
    inside[3:18, 2:22] = True
    assert (pixels[inside] == 255).all()
    assert (pixels[~inside] == 0).all()


def test_an_own_template_works_from_another_working_folder(tmp_path, monkeypatch):
    template(tmp_path)
    monkeypatch.chdir(tmp_path)
    attack = next(a for a in default_attacks("shot.png") if a.name == "overlay_onto_screenshot")
    monkeypatch.chdir("/")
    assert attack(Image.new("RGB", (40, 30)), np.random.default_rng(0)).size == (40, 30)


def test_a_template_that_is_neither_a_name_nor_a_file_is_refused_early():
    with pytest.raises(
        FileNotFoundError, match="no screenshot template 'tablet': give web or mobile, or the path"
    ):
        default_attacks("tablet")


def test_a_template_without_a_box_says_what_to_write(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'has no box: write {"shot.png": \[left, top, right, bottom\]} into'
    ):
        default_attacks(str(template(tmp_path, box=None)))


@pytest.mark.parametrize(
    "box", [[0, 0, 41, 30], [-1, 0, 5, 5], [5, 5, 5, 9], [9, 5, 5, 9], [0, 0, 5], [0, 0, 5.5, 5], "all", None]
)
def test_a_box_that_is_not_inside_the_template_is_refused(tmp_path, box):
    path = template(tmp_path)
    path.with_suffix(".json").write_text(json.dumps({path.name: box}))
    with pytest.raises(ValueError, match=r"no box inside the template.* pixels of the 40x30 template"):
        screenshots.check_template(str(path))


@pytest.mark.parametrize("content", ["{", "[1, 2, 3, 4]", '{"other.png": [0, 0, 1, 1]}'])
def test_a_box_file_in_another_format_is_refused(tmp_path, content):
    path = template(tmp_path)
    path.with_suffix(".json").write_text(content)
    with pytest.raises(ValueError, match=r"does not hold the box of shot\.png: write"):
        screenshots.check_template(str(path))


def test_a_template_that_is_no_image_is_refused(tmp_path):
    path = tmp_path / "shot.png"
    path.write_text("text")
    with pytest.raises(
        ValueError, match="not an image that can be used: not a readable image in a supported format"
    ):
        screenshots.check_template(str(path))


def test_a_template_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "shot.png"
    write_empty_png(path, 60_000, 60_000)
    with pytest.raises(
        ValueError, match=r"shot\.png is not .*: 60000x60000 is more than the limit of 100,000,000"
    ):
        screenshots.check_template(str(path))


def test_a_template_that_is_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "shot.png")
    with pytest.raises(ValueError, match=r"shot\.png is a pipe or a device, expected a regular file"):
        screenshots.check_template(str(tmp_path / "shot.png"))
    path = template(tmp_path, name="other.png", box=None)
    os.mkfifo(path.with_suffix(".json"))
    with pytest.raises(ValueError, match=r"other.json is a pipe .*; write {\"other.png\": \[left"):
        screenshots.check_template(str(path))


def test_the_template_is_no_parameter_of_the_attack():
    attack = Attack("overlay_onto_screenshot", options=(("template", "mobile"),))
    assert attack.param is None
    assert attack.param_text == ""
