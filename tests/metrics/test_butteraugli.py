import numpy as np
import pytest

from active_indexing.metrics import butteraugli as module
from active_indexing.metrics.butteraugli import Butteraugli, butteraugli, installed, parsed

GREY = np.full((64, 80, 3), 120, np.uint8)
SPOT = GREY.copy()
SPOT[20:40, 20:40] += np.array((6, 0, 6), np.uint8)


def test_the_answer_is_read():
    assert parsed("2.0156924725\n3-norm: 0.985770\n") == Butteraugli(2.0156924725, 0.98577)


def test_another_answer_is_told():
    with pytest.raises(RuntimeError, match="gave no distance but 'usage' 'broken'"):
        parsed("usage\n", "broken")


def test_without_the_program_it_says_where_to_find_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not installed()
    with pytest.raises(FileNotFoundError, match="libjxl-devtools"):
        butteraugli(GREY, SPOT)


def test_a_program_stands_in_for_it(tmp_path, monkeypatch):
    """It is given two files that are not empty."""
    program = tmp_path / module.PROGRAM
    program.write_text('#!/bin/sh\ntest -s "$1" && test -s "$2" && echo 1.5 && echo "3-norm: 0.25"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert butteraugli(GREY, SPOT) == Butteraugli(1.5, 0.25)


@pytest.mark.skipif(not installed(), reason="libjxl's butteraugli_main is not installed")
def test_the_program_sees_a_spot_and_not_equal_images():
    assert butteraugli(GREY, GREY) == Butteraugli(0.0, 0.0)
    found = butteraugli(GREY, SPOT)
    assert found.largest > 1
    assert 0 < found.norm < found.largest


def test_it_takes_two_images_of_one_size():
    with pytest.raises(ValueError, match="differ in size"):
        butteraugli(GREY, GREY[:10])
