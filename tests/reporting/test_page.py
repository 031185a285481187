from __future__ import annotations

import base64
import io
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from active_indexing.records import ManifestRow
from active_indexing.reporting import gallery, pictures, recall
from active_indexing.reporting.page import write_report
from active_indexing.reporting.runs import Run
from active_indexing.reporting.verdict import verdict
from tests.reporting.outputs import answer, query, write_output, write_pictures

BROKEN = ManifestRow(99, 'photos/<broken> & "odd".jpg', reason="damaged or truncated file")
FAILED = ("retrieval", "0", "photos/0.png", "auto", "", "no pixel is left")


class Elements(HTMLParser):
    """Tags with their attributes, and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def arm(root: Path, name: str, found: int, images: int = 8) -> Run:
    """Of ``images`` photos the first ``found`` come back first after blur, all of them unedited."""
    folder = root / name
    rows = write_pictures(root, folder, images, shift=0 if name == "passive" else 4)
    queries = [query(i, "none", "", 0) for i in range(images)]
    queries += [query(i, "blur", "11.0", 0 if i < found else None) for i in range(images)]
    answers = [answer(i, [i, 77], [0.5, 1.0]) for i in range(images)] + [answer(-1, [77, 78], [0.75, 2.0])]
    return write_output(
        folder, active=name == "active", retrieval=queries, copies=answers, manifest=[*rows, BROKEN],
        failures=[FAILED, FAILED],
    )  # fmt: skip


def text_of(path: Path) -> str:
    return " ".join(Elements(path.read_text()).text.split())


def test_the_verdict_comes_first_with_recall_interval_quality_and_skipped_files(tmp_path: Path) -> None:
    runs = [arm(tmp_path, "passive", found=2), arm(tmp_path, "active", found=8)]
    report = write_report([run.folder for run in runs])
    assert report == tmp_path / "active" / "report.html"
    text = text_of(report)
    row = recall.recall_table(runs).loc[[recall.MEAN]].iloc[0]
    expected = (
        "With activation the right image comes back first for 100.0 % of its copies instead of 62.5 % "
        f"(+37.5 points, 95 % interval +{100 * row['low']:.1f} to +{100 * row['high']:.1f}, "
        "8 images, 2 attacks) "
        "at a mean PSNR of 39.6 dB; 1 of 9 files was skipped."
    )
    assert expected in text
    assert text.index(expected) < text.index("Found first after each attack")
    assert "The interval includes zero" not in text


def test_no_difference_is_said_as_such(tmp_path: Path) -> None:
    text = text_of(write_report([arm(tmp_path, name, found=4).folder for name in ("passive", "active")]))
    assert "The interval includes zero: these images do not show a difference." in text


def test_the_page_needs_no_other_file_and_no_network(tmp_path: Path) -> None:
    page = write_report([arm(tmp_path, name, found=4).folder for name in ("passive", "active")]).read_text()
    assert not re.search(r"https?:|@import|url\(", page)
    for tag, attributes in Elements(page).tags:
        assert tag not in ("link", "iframe", "object", "script")
        source = attributes.get("src")
        assert source is None or source.startswith("data:image/")


def test_tables_curves_and_reasons_are_in_the_page(tmp_path: Path) -> None:
    page = write_report([arm(tmp_path, name, found=4).folder for name in ("passive", "active")]).read_text()
    elements = Elements(page)
    drawn = {a["alt"] for tag, a in elements.tags if tag == "img" and "svg" in str(a["src"])}
    assert {"Copy detection, raw scores", "Distribution of PSNR (dB)"} <= drawn
    assert '<broken> & "odd".jpg' in elements.text  # escaped in the page, whole for the reader
    assert "damaged or truncated file" in elements.text
    assert re.search(r"auto\s+no pixel is left\s*2", elements.text)
    assert "blur 11" in elements.text
    assert "mean of all attacks" in elements.text


def test_the_gallery_slides_between_the_very_pixels_of_both_files(tmp_path: Path) -> None:
    run = arm(tmp_path, "active", found=8)
    page = Elements(write_report([run.folder]).read_text())
    assert sum(tag == "input" and a["type"] == "range" for tag, a in page.tags) == 2 * 8
    card = gallery.cards(run)[0]
    assert card.name == "0.png"
    assert card.figures[-1] == "found first after 2 of 2 attacks"
    original, released = (_decoded(url) for url in (card.spot_before, card.spot_after))
    assert (released.astype(int) - original == 4).all()
    assert original.shape == (60, 90, 3)


def test_the_difference_is_the_size_of_the_change_times_what_the_page_says(tmp_path: Path) -> None:
    before = np.array([[[0, 9, 250], [7, 7, 7]]], dtype=np.uint8)
    after = np.array([[[1, 7, 255], [7, 7, 200]]], dtype=np.uint8)
    changed = gallery.amplified(before, after)
    assert changed.tolist() == [[[30, 60, 150], [0, 0, 255]]]
    run = arm(tmp_path, "active", found=8)
    shown = _decoded(gallery.cards(run)[0].difference)
    assert abs(shown.astype(int) - 4 * gallery.AMPLIFICATION).max() <= 2  # every pixel is 4 levels brighter
    page = write_report([run.folder]).read_text()
    assert f"{gallery.AMPLIFICATION} times as" in page
    assert f"--times: {gallery.AMPLIFICATION}" in page


def test_the_contents_lead_to_every_section_that_is_there(tmp_path: Path) -> None:
    run = arm(tmp_path, "active", found=8)
    page = Elements(write_report([run.folder]).read_text())
    sections = [a["id"] for tag, a in page.tags if tag == "section"]
    links = [str(a["href"]).removeprefix("#") for tag, a in page.tags if tag == "a"]
    assert links == sections[1:]  # the verdict comes first anyway
    assert {"recall", "detection", "gallery"} <= set(links)
    assert "lost" not in links
    only = write_output(tmp_path / "a", active=True, manifest=[BROKEN])
    assert 'href="#detection"' not in write_report([only.folder]).read_text()


def test_dark_screens_and_paper_have_their_styles(tmp_path: Path) -> None:
    page = write_report([arm(tmp_path, "active", found=8).folder]).read_text()
    assert "@media screen and (prefers-color-scheme: dark)" in page
    assert "@media print" in page
    assert 'name="viewport"' in page


def test_the_worst_images_come_first_and_the_sample_spans_the_rest(tmp_path: Path) -> None:
    run = arm(tmp_path, "active", found=8)
    rows, worst = gallery.chosen(run.released, worst=2, sample=3)
    assert worst == 2
    assert rows["id"].tolist() == [0, 1, 2, 4, 7]


def test_a_thousand_images_give_a_page_of_bounded_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "active" / "imgs").mkdir(parents=True)
    noise = rng.integers(16, 240, (gallery.EDGE, gallery.EDGE, 3), dtype=np.uint8)  # the worst case for files
    Image.fromarray(noise).save(tmp_path / "noise.png", compress_level=1)
    noise += rng.integers(0, 5, noise.shape, dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "active" / "imgs" / "noise.png", compress_level=1)
    rows = [
        ManifestRow(i, "noise.png", "imgs/noise.png", "released", psnr=40 + i, ssim=0.9, linf=1)
        for i in range(1000)
    ]
    report = write_report([write_output(tmp_path / "active", active=True, manifest=rows).folder])
    assert report.stat().st_size < 25_000_000


@pytest.mark.parametrize("name", ["passive", "active"])
def test_one_run_alone_has_a_report(tmp_path: Path, name: str) -> None:
    text = text_of(write_report([arm(tmp_path, name, found=4).folder]))
    assert "The right image comes back first for 75.0 % of its copies (95 % interval " in text
    assert ("The images were released as they are" in text) == (name == "passive")


def test_a_run_that_released_nothing_has_a_report(tmp_path: Path) -> None:
    text = text_of(write_report([write_output(tmp_path / "a", active=True, manifest=[BROKEN]).folder]))
    assert "No image was released; 1 of 1 files was skipped." in text
    assert "damaged or truncated file" in text


def test_a_run_without_retrieval_or_copy_detection_has_a_report(tmp_path: Path) -> None:
    rows = write_pictures(tmp_path, tmp_path / "a", 2, shift=3)
    text = text_of(write_report([write_output(tmp_path / "a", active=True, manifest=rows).folder]))
    assert "No copies were searched at a mean PSNR of 39.1 dB; none of 2 files was skipped." in text


def test_files_of_an_earlier_run_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    arm(tmp_path, "active", found=8)
    run = write_output(tmp_path / "active", active=True, manifest=[BROKEN])
    assert run.retrieval is None
    assert run.copy_detection is None


def test_images_that_are_gone_are_left_out_of_the_gallery(tmp_path: Path) -> None:
    run = arm(tmp_path, "active", found=8)
    (tmp_path / "photos" / "0.png").unlink()
    (tmp_path / "active" / "imgs" / "1.png").write_bytes(b"no image")
    assert [card.name for card in gallery.cards(run)] == [f"{i}.png" for i in range(2, 8)]


def test_twenty_images_take_seconds(tmp_path: Path) -> None:
    folders = [arm(tmp_path, name, found=4, images=20).folder for name in ("passive", "active")]
    started = time.process_time()
    write_report(folders)
    assert time.process_time() - started < 3


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    folder = arm(tmp_path, "active", found=4).folder
    assert write_report([folder]).read_bytes() == write_report([folder]).read_bytes()


def test_no_folder_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs at least one output folder"):
        write_report([])


def test_worse_is_said_too(tmp_path: Path) -> None:
    runs = [arm(tmp_path, "passive", found=8), arm(tmp_path, "active", found=0)]
    told = verdict(runs, recall.recall_table(runs))
    assert told.tone == "worse"
    assert "instead of 100.0 % (\N{MINUS SIGN}50.0 points" in told.sentence


def test_the_most_changed_spot_is_found_to_the_pixel() -> None:
    before = np.zeros((50, 70, 3), dtype=np.uint8)
    after = before.copy()
    after[30:34, 60:64] = 9
    after[5, 5] = 10
    rows, columns = pictures.most_changed(before, after, 4)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (30, 34, 60, 64)
    assert pictures.most_changed(before, after, 100) == (slice(0, 50), slice(0, 70))


def test_in_a_large_image_the_spot_covers_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "EXACT_PIXELS", 400)
    before = np.zeros((50, 71, 3), dtype=np.uint8)
    after = before.copy()
    after[31:34, 62:64] = 9
    rows, columns = pictures.most_changed(before, after, 12)
    assert rows.start <= 31
    assert rows.stop >= 34
    assert columns.start <= 62
    assert columns.stop >= 64
    assert (rows.stop - rows.start, columns.stop - columns.start) == (12, 12)


def test_a_run_whose_every_chain_failed_has_a_report(tmp_path: Path) -> None:
    run = arm(tmp_path, "active", found=8)
    lines = (run.folder / "icd_df.csv").read_text().splitlines(keepends=True)
    (run.folder / "icd_df.csv").write_text(lines[0])
    assert "Copy detection, raw scores" in write_report([run.folder]).read_text()


def test_a_run_that_found_nothing_has_a_report(tmp_path: Path) -> None:
    rows = write_pictures(tmp_path, tmp_path / "a", 2, shift=3)
    queries, answers = (
        [query(i, "none", "", None) for i in range(2)],
        [answer(i, [7], [1.0]) for i in range(2)],
    )
    write_output(tmp_path / "a", active=True, manifest=rows, retrieval=queries, copies=answers)
    text = text_of(write_report([tmp_path / "a"]))
    assert (
        "comes back first for 0.0 % of its copies (95 % interval 0.0 % to 0.0 %, 2 images, 1 attack)" in text
    )


def _decoded(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))
