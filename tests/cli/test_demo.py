from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from active_indexing.cli import demo


def test_twenty_photos_and_five_others_that_all_open(tmp_path: Path) -> None:
    photos, others = demo.write_demo(tmp_path)
    assert (len(list(photos.iterdir())), len(list(others.iterdir()))) == (20, 5)
    for path in (*photos.iterdir(), *others.iterdir()):
        with Image.open(path) as image:
            image.load()


def test_files_that_are_there_already_stay(tmp_path: Path) -> None:
    demo.write_demo(tmp_path)
    (tmp_path / "photos" / demo.PHOTOS[0]).write_bytes(b"mine")
    (tmp_path / "photos" / demo.PHOTOS[1]).unlink()
    demo.write_demo(tmp_path)
    assert (tmp_path / "photos" / demo.PHOTOS[0]).read_bytes() == b"mine"
    assert (tmp_path / "photos" / demo.PHOTOS[1]).stat().st_size > 1000


def test_a_photo_that_the_packages_no_longer_ship_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "PHOTOS", ("gone.png",))
    with pytest.raises(
        FileNotFoundError, match=r"neither scikit-image nor scikit-learn ships gone.png any more"
    ):
        demo.write_demo(tmp_path)
