from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from active_indexing.cli.console import summary_text
from active_indexing.evaluation.summary import CopyDetectionSummary, RetrievalSummary, failure_counts
from active_indexing.records import NO_MATCH, Failure, ManifestRow, QueryRow
from active_indexing.release.manifest import quality_table


def row(ids: list[int], distances: list[float], image_index: int = 7, attack: str = "none") -> QueryRow:
    return QueryRow(image_index, attack, "", np.array(ids), np.array(distances, dtype=np.float32))


def blocks(*rows: QueryRow) -> Iterator[tuple[int, QueryRow]]:
    return ((0, each) for each in rows)


def test_recall_per_attack_is_the_mean_over_its_queries_in_the_order_of_the_csv() -> None:
    summary = RetrievalSummary()
    rows = [row([7], [0]), row([1, 7], [0, 1]), row([1], [0], attack="blur"), row([], [], attack="blur")]
    assert len(list(summary.watch(blocks(*rows)))) == 4
    assert summary.table() == [
        {"attack": "none", "attack_param": "", "n": 2, "r@1": 0.5, "r@10": 1.0, "r@100": 1.0, "ap": 0.75},
        {"attack": "blur", "attack_param": "", "n": 2, "r@1": 0.0, "r@10": 0.0, "r@100": 0.0, "ap": 0.0},
    ]
    assert summary.retrieved == {1, 7}


@pytest.mark.parametrize(("larger_is_better", "expected"), [(False, 1.0), (True, 0.5)])
def test_copy_detection_ranks_small_distances_or_large_products_first(
    larger_is_better: bool, expected: float
) -> None:
    summary = CopyDetectionSummary(larger_is_better)
    list(summary.watch(blocks(row([7], [0.1]), row([3], [0.9], NO_MATCH))))
    assert summary.table() == {"uAP": expected, "matching": 1, "non_matching": 1}


def test_a_matching_query_that_finds_nothing_counts_as_missed() -> None:
    summary = CopyDetectionSummary(larger_is_better=False)
    list(summary.watch(blocks(row([7], [0.1]), row([], []))))
    assert summary.table()["uAP"] == 0.5


def test_without_matching_queries_there_is_no_figure() -> None:
    summary = CopyDetectionSummary(larger_is_better=False)
    list(summary.watch(blocks(row([3], [0.9], NO_MATCH))))
    assert summary.table() == {}


def test_quality_leaves_unchanged_images_out_of_psnr_and_counts_them() -> None:
    rows = [
        ManifestRow(1, "a", "imgs/a.png", "released", psnr=40.0, ssim=0.9, linf=4),
        ManifestRow(2, "b", "imgs/b.png", "released", psnr=math.inf, ssim=1.0, linf=0),
        ManifestRow(3, "c", reason="broken"),
    ]
    table = quality_table(rows)
    assert (table["released"], table["skipped"], table["unchanged"]) == (2, 1, 1)
    assert table["psnr"] == {"mean": 40.0, "std": 0.0, "min": 40.0, "max": 40.0}
    assert table["linf"]["mean"] == 2.0


def test_quality_of_nothing_is_counts_alone() -> None:
    assert quality_table([]) == {"released": 0, "skipped": 0, "unchanged": 0}


def test_failures_are_counted_per_stage_and_attack() -> None:
    failures = [Failure("retrieval", 1, Path("a"), "auto", "", "why")] * 2
    assert failure_counts(failures) == {"retrieval/auto": 2}


def content(**more: object) -> dict:
    quality = quality_table([ManifestRow(1, "a", "imgs/a.png", "released", psnr=40.0, ssim=0.9, linf=4)])
    base = {
        "config": {"active": True},
        "quality": quality,
        "failed_attacks": {},
        "sample": {"evaluated": 1, "released": 1},
        "seconds": {"release": 1.25},
    }
    return base | more


def test_the_summary_counts_what_was_skipped_and_where_the_reasons_are() -> None:
    quality = quality_table([ManifestRow(3, "c", reason="broken")])
    text = summary_text(content(quality=quality), Path("out"))
    assert text.startswith("active: 0 images released, 1 skipped (manifest.csv says why)\n")
    assert text.endswith("time: release 1.2 s\neverything is in out")


def test_the_summary_says_when_only_a_sample_was_evaluated() -> None:
    told = "evaluated: 200 of 5,000 images, drawn by id (--eval_sample all for every one)"
    assert told in summary_text(content(sample={"evaluated": 200, "released": 5000}), Path("out"))
    assert "evaluated:" not in summary_text(content(), Path("out"))
    assert "evaluated:" not in summary_text(content(sample={"evaluated": 0, "released": 5}), Path("out"))


def test_the_summary_shows_recall_copy_detection_and_failed_attacks() -> None:
    retrieval = [
        {"attack": "blur", "attack_param": "11.0", "n": 4, "r@1": 0.25, "r@10": 0.5, "r@100": 1, "ap": 0.3}
    ]
    text = summary_text(
        content(
            retrieval=retrieval,
            copy_detection={"uAP": 0.125, "matching": 3, "non_matching": 0},
            failed_attacks={"retrieval/auto": 2},
        ),
        Path("out"),
    )
    assert "PSNR 40.00 ± 0.00 dB" in text
    assert "blur                          11.0      4   0.250   0.500   1.000   0.300" in text
    assert "uAP 0.125, 3 matching queries and 0 others (give --query_nonmatch_dir" in text
    assert "left out (failures.csv says why): retrieval/auto 2" in text
