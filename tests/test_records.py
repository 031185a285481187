from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_indexing.images.encoding import format_of
from active_indexing.images.inventory import inventory, protected_id
from active_indexing.records import NO_MATCH, ManifestRow, QueryRow, SourceImage
from active_indexing.release.config import SAVE_FORMATS
from active_indexing.release.names import released_names


def sources(*names: str) -> list[SourceImage]:
    return [SourceImage(protected_id(name), Path("photos", name), name) for name in names]


def names_of(*names: str) -> list[str]:
    given = released_names(sources(*names), {})
    assert all(len(reserved) == 1 for reserved in given.values())
    return [given[protected_id(name)][0] for name in names]


def query(ids: list[int], image_index: int = 7) -> QueryRow:
    return QueryRow(image_index, "none", "", np.array(ids), np.arange(len(ids), dtype=np.float32))


def test_rank_is_the_place_of_the_right_answer_from_zero() -> None:
    assert [query(ids).rank for ids in ([7, 1], [1, 7], [1, 2], [])] == [0, 1, None, None]


def test_a_query_without_a_match_has_no_rank() -> None:
    assert query([1, 2], NO_MATCH).rank is None


def test_an_id_depends_on_the_name_alone_and_is_never_that_of_a_reference() -> None:
    assert protected_id("a/b.jpg") == protected_id("a/b.jpg")
    ids = {protected_id(f"{number}.jpg") for number in range(2000)}
    assert len(ids) == 2000
    assert all(2**62 <= id_ < 2**63 for id_ in ids)
    assert protected_id("a\udcff.jpg") > 0  # a name whose bytes are no UTF-8


def test_names_and_folders_are_kept_with_the_ending_png() -> None:
    assert names_of("a.jpg", "b.png", "été/c.d.webp") == ["a.png", "b.png", "été/c.d.png"]
    assert names_of("a.PNG", "c") == ["a.PNG", "c.png"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("a.jpg", "a.webp"), ["a.jpg.png", "a.webp.png"]),
        (("a.jpg", "a.png"), ["a.jpg.png", "a.png"]),
        (("A.jpg", "a.jpg"), ["A.jpg.png", None]),
        (("a.jpg", "a.webp", "a.jpg.png"), [None, "a.webp.png", "a.jpg.png"]),
        (("x/a.jpg", "y/a.jpg"), ["x/a.png", "y/a.png"]),
        (("a.jpg", "a.png/b.jpg"), [None, "a.png/b.png"]),
        (("\u00e9.jpg", "e\u0301.jpg"), ["\u00e9.jpg.png", None]),
    ],
)
def test_no_two_inputs_get_one_name_on_any_file_system(
    given: tuple[str, ...], expected: list[str | None]
) -> None:
    found = names_of(*given)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == len(found)
    for name, source, wanted in zip(found, given, expected, strict=True):
        assert name == (wanted or f"{source}.{protected_id(source)}.png")


def test_names_given_earlier_stay_and_are_not_given_again() -> None:
    first = released_names(sources("a.jpg"), {})
    later = released_names(sources("a.jpg", "a.webp"), first)
    assert [later[protected_id(name)] for name in ("a.jpg", "a.webp")] == [["a.png"], ["a.webp.png"]]
    assert released_names(sources("a.webp"), first)[protected_id("a.webp")] == ["a.webp.png"]


@pytest.mark.parametrize(
    ("save_format", "given", "expected"),
    [
        ("jpeg", ("a.png", "b.JPG", "d"), ["a.jpg|a.png", "b.JPG|b.JPG.png", "d.jpg|d.png"]),
        ("jpeg", ("a.jfif", "b.jpeg"), ["a.jfif|a.jfif.png", "b.jpeg|b.jpeg.png"]),
        ("jpeg", ("a.jpg", "a.png"), ["a.jpg|a.jpg.png", "a.png.jpg|a.png"]),
        ("jpeg", ("a.jpg", "a.jpeg"), ["a.jpg|a.jpg.png", "a.jpeg|a.jpeg.png"]),
        ("jpeg", ("a.webp", "a.png"), ["a.webp.jpg|a.webp.png", "a.png.jpg|a.png"]),
        ("jpeg", ("a.webp", "a.webp.png"), ["a.jpg|#.png", "a.webp.jpg|a.webp.png"]),
        ("jpeg", ("a.jpg", "a.jpg.png/b.jpg"), ["a.jpg|#.png", "a.jpg.png/b.jpg|a.jpg.png/b.jpg.png"]),
        ("webp", ("a.webp", "a.jpg"), ["a.webp|a.webp.png", "a.jpg.webp|a.jpg.png"]),
        ("webp", ("b.tiff",), ["b.webp|b.tiff.png"]),
        ("same", ("a.jpg", "a.png", "a.webp"), ["a.jpg|a.jpg.png", "a.png", "a.webp|a.webp.png"]),
        ("same", ("a.JPEG", "b.PNG", "c.jpe"), ["a.JPEG|a.JPEG.png", "b.PNG", "c.jpe|c.jpe.png"]),
        ("same", ("a.bmp", "a.png", "c.avif"), ["a.bmp.png", "a.png", "c.png"]),
        ("same", ("a.jpg", "a.jpg.png"), ["a.jpg|#.png", "a.jpg.png"]),
        ("same", ("A.jpg", "a.jpg"), ["A.jpg|A.jpg.png", "#.jpg|#.png"]),
    ],
)  # fmt: skip
def test_names_in_every_format_and_the_second_one_in_png(
    save_format: str, given: tuple[str, ...], expected: list[str]
) -> None:
    """``#`` is the name with the image's id."""
    found = released_names(sources(*given), {}, save_format)
    for name, wanted in zip(given, expected, strict=True):
        named = wanted.replace("#", f"{name}.{protected_id(name)}")
        assert "|".join(found[protected_id(name)]) == named


def test_an_image_added_later_never_gets_a_second_name() -> None:
    first = released_names(sources("a.jpg"), {}, "same")
    later = released_names(sources("a.jpg", "a.png", "a.jpg.png"), first, "same")
    assert later[protected_id("a.jpg")] == ["a.jpg", "a.jpg.png"]
    assert later[protected_id("a.png")] == ["a.png"]
    (other,) = later[protected_id("a.jpg.png")]
    assert other == f"a.jpg.png.{protected_id('a.jpg.png')}.png"


words = st.sampled_from(["a", "A", "b", "a.png", "a.jpg", "x", "é", "e\u0301"])
endings = st.sampled_from([".jpg", ".JPG", ".png", ".PNG", ".webp"])
file_names = st.lists(
    st.builds(
        lambda parts, ending: "/".join(parts) + ending, st.lists(words, min_size=1, max_size=2), endings
    ),
    unique=True,
    max_size=12,
)


@pytest.mark.filterwarnings("error")
@given(file_names, st.integers(0, 12), st.sampled_from(SAVE_FORMATS))
def test_released_names_never_collide_with_each_other_or_with_a_folder(
    names: list[str], first: int, save_format: str
) -> None:
    earlier = released_names(sources(*names[:first]), {}, save_format)
    found = released_names(sources(*names), earlier, save_format)
    assert {id_: found[id_] for id_ in earlier} == earlier
    given = [name for reserved in found.values() for name in reserved]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in given}) == len(given)
    for name, reserved in zip(names, (found[protected_id(name)] for name in names), strict=True):
        wanted = (format_of(name) or "png") if save_format == "same" else save_format
        assert [format_of(each) for each in reserved] == [wanted, *(["png"] if wanted != "png" else [])]
    if first >= len(names):
        folders = {str(parent) for name in given for parent in list(Path(name).parents)[:-1]}
        assert not folders & set(given)


def test_the_inventory_is_sorted_by_name_and_names_are_relative(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/z.png", "a.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [source.name for source in inventory(tmp_path)] == ["a.jpg", "a/z.png", "b.jpg"]
    (single,) = inventory(tmp_path / "a" / "z.png")
    assert (single.name, single.path) == ("z.png", tmp_path / "a" / "z.png")


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no images in .*: looked, in sub-folders too"):
        inventory(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        inventory(tmp_path / "missing")


def test_two_names_with_one_id_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    monkeypatch.setattr("active_indexing.images.inventory.protected_id", lambda name: 2**62)
    with pytest.raises(ValueError, match=r"two images below .* have one id; rename one"):
        inventory(tmp_path)


def test_the_columns_of_the_manifest() -> None:
    columns = "id,source,released,status,reason,width,height,psnr,ssim,linf,"
    columns += (
        "ssimulacra2,ciede2000_p99,ciede2000_visible,butteraugli,butteraugli_norm,cell_before,cell_after"
    )
    assert ",".join(ManifestRow.columns()) == columns
