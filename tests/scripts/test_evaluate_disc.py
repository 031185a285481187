from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from active_indexing.extraction.named_descriptors import NamedDescriptors, write_hdf5
from scripts import evaluate_disc
from tests.conftest import Toy, pattern

# One image per pass: the same file then has the same descriptor to the last bit.
CHEAP = ["--bootstrap", "20", "--workers", "0", "--batch_size", "1"]


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "disc_metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def block_of(printed: str) -> list[str]:
    lines = printed.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("Track 1 results"))
    return lines[first : first + 6]


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DISC21 in SSCD's layout: 12 references, 8 queries, 70 training images of 16 to 32 pixels.

    Queries 0 to 4 are files of references 0 to 4. Query 5 is the file of reference 4 too, but its right
    answer is reference 9. Queries 6 and 7 have no match.
    """
    root = tmp_path_factory.mktemp("disc")
    rng = np.random.default_rng(7)
    for folder, form, count in (
        ("val_ref", "R{:06d}.jpg", 12),
        ("val_query", "Q{:05d}.jpg", 8),
        ("training", "T{:06d}.jpg", 70),
    ):
        (root / folder).mkdir()
        for number in range(count):
            height, width = rng.integers(16, 33, 2)
            image = Image.fromarray(pattern(rng, int(height), int(width)))
            image.save(root / folder / form.format(number), quality=90)
    for query, reference in enumerate((0, 1, 2, 3, 4, 4)):
        shutil.copy(root / f"val_ref/R{reference:06d}.jpg", root / f"val_query/Q{query:05d}.jpg")
    truth = [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 9)]
    rows = [f"Q{query:05d},R{reference:06d}" for query, reference in truth] + ["Q00006,", "Q00007,"]
    (root / "val_groundtruth_matches.csv").write_text("query_id,reference_id\n" + "\n".join(rows) + "\n")
    return root


def test_the_whole_protocol_on_images_gives_the_known_answers(
    disc: Path, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model_name", "torchscript", "--model_path", str(toy.model), "--resize_size", str(toy.size)]
    command = ["--data_dir", str(disc), "--output_dir", str(tmp_path), "--k", "1", *model, *CHEAP]
    assert evaluate_disc.main([*command, "--metadata", "toy"]) == 0
    # Five right pairs and the wrong one of query 5 are all at distance 0, and the wrong one comes first.
    known = (1 / 2 + 2 / 3 + 3 / 4 + 4 / 5 + 5 / 6) / 6
    assert block_of(capsys.readouterr().out)[:5] == [
        "Track 1 results of 8 predictions (6 GT matches)",
        f"Average Precision: {known:.5f}",
        "Does not reach P90",
        "Recall at rank 1:  0.83333",
        "Recall at rank 10: 0.83333",
    ]
    rows = table(tmp_path)
    assert [(row["codec"], row["score_norm"]) for row in rows] == [
        ("Flat", "None"),
        ("Flat", "1.00[0,2]"),
        ("PCAW64,L2norm,Flat", "None"),
        ("PCAW64,L2norm,Flat", "1.00[0,2]"),
    ]
    assert list(rows[0])[:5] == ["codec", "score_norm", "uAP", "accuracy-at-1", "recall-at-p90"]
    assert float(rows[0]["uAP"]) == pytest.approx(known)
    assert float(rows[0]["threshold-at-p90"]) == float("inf")
    assert [float(row["accuracy-at-1"]) for row in rows] == pytest.approx([5 / 6] * 4)
    assert {row["metadata"] for row in rows} == {"toy"}
    for row in rows:
        assert float(row["uAP_low"]) <= float(row["uAP"]) <= float(row["uAP_high"])
    predicted = (tmp_path / "predictions_codec=Flat_norm=None.csv").read_text().splitlines()
    assert predicted[:2] == ["query_id,reference_id,score", "Q00000,R000000,0.0"]
    assert len(predicted) == 9

    # The predictions that were written are worth the same, read back in.
    capsys.readouterr()
    files = ["--preds_filepath", str(tmp_path / "predictions_codec=Flat_norm=None.csv")]
    truth = ["--gt_filepath", str(disc / "val_groundtruth_matches.csv")]
    assert evaluate_disc.main([*files, *truth, "--bootstrap", "0"]) == 0
    assert f"Average Precision: {known:.5f}" in capsys.readouterr().out


def a_set(path: Path, letter: str, vectors: list[list[float]]) -> str:
    names = tuple(f"{letter}{number}.jpg" for number in range(len(vectors)))
    write_hdf5(path, NamedDescriptors(names, np.array(vectors, dtype=np.float32)))
    return str(path)


@pytest.fixture
def vectors(tmp_path: Path) -> list[str]:
    """Query 1 has no match, but is near to everything: to reference 0, and to the training image too."""
    slope = [0.1**0.5, 0.9**0.5]
    queries = a_set(tmp_path / "query.hdf5", "Q", [[0.8, 0.6], [slope[1], slope[0]]])
    references = a_set(tmp_path / "reference_0_v1.hdf5", "R", [[1.0, 0.0], [0.0, -1.0]])
    training = a_set(tmp_path / "training.hdf5", "T", [[slope[1], -slope[0]]])
    (tmp_path / "truth.csv").write_text("Q0,R0\nQ1,\n")
    assert references.endswith("reference_0_v1.hdf5")
    return [
        *("--query_descs", queries, "--db_descs", str(tmp_path / "reference_v1.hdf5")),
        *("--train_descs", training, "--gt_filepath", str(tmp_path / "truth.csv")),
        *("--output_dir", str(tmp_path / "out"), *CHEAP),
    ]


def test_score_normalisation_puts_the_right_pair_first(
    vectors: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    norms = ["--codecs", "Flat", "--score_norm", "none;1.0[0];1*min1"]
    assert evaluate_disc.main([*vectors, *norms, "--k", "1"]) == 0
    rows = table(tmp_path / "out")
    assert [float(row["uAP"]) for row in rows] == [0.5, 1.0, 1.0]
    assert [float(row["accuracy-at-1"]) for row in rows] == [1.0, 1.0, 1.0]
    # 0.8 less the inner product of query 0 and the training image
    expected = 0.8 - (0.8 * 0.9**0.5 - 0.6 * 0.1**0.5)
    assert float(rows[1]["threshold-at-p90"]) == pytest.approx(expected, rel=1e-6)
    printed = capsys.readouterr().out
    assert f"Recall at P90    : 1.00000\nThreshold at P90 : {expected:g}\n" in printed
    assert "uAP: 1, 95 % interval" in printed


def scores(folder: Path) -> dict[str, float]:
    rows = (folder / "predictions_codec=Flat_norm=None.csv").read_text().splitlines()[1:]
    return {row[:5]: float(row.split(",")[2]) for row in rows}


def test_ip_ranks_plain_inner_products_as_the_challenge_program_does(
    vectors: list[str], tmp_path: Path
) -> None:
    command = [*vectors, "--codecs", "Flat", "--score_norm", "none", "--k", "2"]
    assert evaluate_disc.main([*command, "--ip"]) == 0
    expected = {"Q0,R0": 0.8, "Q1,R0": 0.9**0.5, "Q0,R1": -0.6, "Q1,R1": -(0.1**0.5)}
    assert scores(tmp_path / "out") == pytest.approx(expected, abs=1e-6)
    assert evaluate_disc.main(command) == 0
    # The vectors have length 1: |q - r|^2 = 2 - 2 q r.
    assert scores(tmp_path / "out") == pytest.approx({k: 2 * v - 2 for k, v in expected.items()}, abs=1e-6)


def test_curves_are_written_as_a_table_or_a_picture(vectors: list[str], tmp_path: Path) -> None:
    command = [*vectors, "--codecs", "Flat", "--k", "1", "--score_norm", "none;1.0[0]", "--title", "toy"]
    table = tmp_path / "curves" / "pr.csv"
    assert evaluate_disc.main([*command, "--pr_curve_filepath", str(table)]) == 0
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    # Without normalisation query 1, which has no match, is the nearest: the right pair is the second of two.
    assert [(row["curve"], row["recall"], row["precision"]) for row in rows] == [
        ("Flat None", "1.0", "0.5"),
        ("Flat 1.00[0,0]", "1.0", "1.0"),
    ]
    assert float(rows[0]["threshold"]) == pytest.approx(-0.4, abs=1e-6)
    picture = tmp_path / "pr.png"
    assert evaluate_disc.main([*command, "--pr_curve_filepath", str(picture)]) == 0
    with Image.open(picture) as opened:
        assert opened.size == (600, 450)
    predicted = tmp_path / "out" / "predictions_codec=Flat_norm=None.csv"
    measured = ["--preds_filepath", str(predicted), "--gt_filepath", str(tmp_path / "truth.csv"), *CHEAP]
    assert evaluate_disc.main([*measured, "--pr_curve_filepath", str(table)]) == 0
    assert "predictions_codec=Flat_norm=None.csv,1.0,0.5,-0.4" in table.read_text()


def test_a_curve_of_no_known_format_is_refused_before_any_work(
    vectors: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_disc.main([*vectors, "--pr_curve_filepath", "pr.gif"]) == 2
    assert "--pr_curve_filepath pr.gif must end in .csv, .png, .pdf, .svg." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "found"), [("=true", ["Q0", "Q2"]), ("=False", ["Q0", "Q1", "Q2"]), ("", ["Q0", "Q2"])]
)
def test_global_candidates_is_a_boolean_as_published(tmp_path: Path, text: str, found: list[str]) -> None:
    queries = a_set(tmp_path / "q.h5", "Q", [[1.0, 0.0], [-1.0, 0.0], [0.9, 0.1]])
    references = a_set(tmp_path / "r.h5", "R", [[1.0, 0.0], [0.9, 0.1]])
    (tmp_path / "truth.csv").write_text("Q0,R0\n")
    files = ["--query_descs", queries, "--db_descs", references, "--gt_filepath", str(tmp_path / "truth.csv")]
    command = [*files, "--output_dir", str(tmp_path / "out"), "--k", "1", "--codecs", "Flat", *CHEAP]
    assert evaluate_disc.main([*command, f"--global_candidates{text}"]) == 0
    assert sorted({pair[:2] for pair in scores(tmp_path / "out")}) == found


def test_too_few_training_images_for_a_codec_are_told_with_its_own_number(
    vectors: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    norms = ["--codecs", "PCA1,L2norm,Flat;Flat", "--score_norm", "none"]
    assert evaluate_disc.main([*vectors, *norms]) == 0
    expected = "codec PCA1,L2norm,Flat skipped: fitting 1 directions needs more than 1 descriptors, got 1."
    assert expected in capsys.readouterr().err


def test_global_candidates_go_to_the_best_pairs_of_all_queries(vectors: list[str], tmp_path: Path) -> None:
    # Squared distances: Q0-R0 0.4, Q1-R0 0.1, Q0-R1 3.2, Q1-R1 2.6. k x 2 queries = 2 pairs.
    command = [*vectors, "--codecs", "Flat", "--score_norm", "none", "--ref_column", "ref_id"]
    assert evaluate_disc.main([*command, "--k", "1", "--global_candidates"]) == 0
    path = tmp_path / "out" / "predictions_codec=Flat_norm=None.csv"
    assert [line[:5] for line in path.read_text().splitlines()[1:]] == ["Q0,R0", "Q1,R0"]
    assert path.read_text().startswith("query_id,ref_id,score\n")


def test_without_training_images_nothing_is_normalised_or_whitened(
    vectors: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = vectors.index("--train_descs")
    bare = vectors[:place] + vectors[place + 2 :]
    assert evaluate_disc.main(bare) == 0
    assert [(row["codec"], row["score_norm"]) for row in table(tmp_path / "out")] == [("Flat", "None")]
    assert evaluate_disc.main([*bare, "--score_norm", "1.0[0]"]) == 2
    assert "score normalisation 1.00[0,0] needs descriptors of training images" in capsys.readouterr().err


def test_a_codec_that_can_not_be_used_is_skipped_and_said(
    vectors: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*vectors, "--score_norm", "none", "--bootstrap", "0"]
    assert evaluate_disc.main([*command, "--codecs", "PCAW2,L2norm,Flat; L2norm,Flat"]) == 0
    assert "codec PCAW2,L2norm,Flat skipped: fitting 2 directions" in capsys.readouterr().err
    rows = table(tmp_path / "out")
    assert [row["codec"] for row in rows] == ["L2norm,Flat"]
    assert "uAP_low" not in rows[0]
    assert evaluate_disc.main([*command, "--codecs", "PQ8"]) == 1


def test_matches_without_a_descriptor_are_missed_and_told(
    vectors: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "truth.csv").write_text("Q0,R0\nQ2,R1\n")
    assert evaluate_disc.main([*vectors, "--codecs", "Flat", "--score_norm", "none"]) == 0
    printed = capsys.readouterr()
    assert "note: 1 matches have an image without descriptor; they count as missed" in printed.err
    assert "Recall at rank 10: 0.50000" in printed.out


def test_the_layout_of_the_release_is_found_too(tmp_path: Path) -> None:
    for folder in ("test_queries", "references"):
        (tmp_path / folder).mkdir()
    (tmp_path / "test_queries_groundtruth.csv").write_text("Q1,R1\n")
    found = evaluate_disc.disc.disc_layout(tmp_path, "test")
    assert (found.queries, found.training) == (tmp_path / "test_queries", None)
    with pytest.raises(FileNotFoundError, match="has neither val_query/, val_ref/ and val_groundtruth_matc"):
        evaluate_disc.disc.disc_layout(tmp_path, "dev")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ([], "no ground truth; give --gt_filepath"),
        (["--gt_filepath", "truth.csv"], "give --data_dir, or --query_descs and --db_descs"),
        (["--gt_filepath", "truth.csv", "--preds_filepath", "none.csv"], "no file none.csv"),
        (["--data_dir", "nowhere"], "nowhere has neither val_query/"),
        (["--gt_filepath", "truth.csv", "--score_norm", "often"], "score normalisation 'often' is none of"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    flags: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("truth.csv").write_text("Q0,R0\n")
    assert evaluate_disc.main(flags) == 2
    assert why in capsys.readouterr().err


def test_wrong_numbers_and_names_that_are_taken_are_refused(
    vectors: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_disc.main([*vectors, "--k", "0"]) == 2
    assert "candidates per query must be at least 1, got 0" in capsys.readouterr().err
    twice = NamedDescriptors(("a/Q0.jpg", "b/Q0.png"), np.eye(2, dtype=np.float32))
    write_hdf5(tmp_path / "query.hdf5", twice)
    assert evaluate_disc.main(vectors) == 2
    assert "two queries are called Q0; names tell images apart" in capsys.readouterr().err
