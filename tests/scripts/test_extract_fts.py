import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.descriptors.weights.descriptor_file import Head, write_descriptor_file
from scripts import extract_fts

SCRIPT = Path(extract_fts.__file__)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the process that is killed: the number of threads may change the last bit of a sum."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.pt"
    torch.manual_seed(0)
    head = Head(backbone="resnet10", dim=8)
    write_descriptor_file(path, head.build(), head, Preprocessing(size=32))
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for number in range(14):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number:02d}.png")
    (root / "text.jpg").write_text("no image")
    return root


def flags(photos: Path, model: Path, out: Path) -> list[str]:
    given = {"data_dir": photos, "model_path": model, "output_dir": out, "batch_size": 1, "workers": 0}
    return [text for name, value in given.items() for text in (f"--{name}", str(value))]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_with_signal_9_and_run_again_it_ends_like_an_undisturbed_run(photos, model, tmp_path, capsys):
    out, journal = tmp_path / "out", tmp_path / "out/in_progress/journal.jsonl"
    command = [sys.executable, SCRIPT, *flags(photos, model, out)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [path.name for path in out.iterdir()] == ["in_progress"]
    assert extract_fts.main(flags(photos, model, out)) == 0
    assert extract_fts.main(flags(photos, model, tmp_path / "undisturbed")) == 0
    assert content(out) == content(tmp_path / "undisturbed")
    told = capsys.readouterr().out
    assert f"{out / 'fts.pth'}: 14 descriptors of 8 dimensions, written in" in told
    assert f"1 images skipped, see {out / 'skipped.csv'}" in told


def test_the_published_flags_are_there_and_help_names_their_defaults(capsys):
    with pytest.raises(SystemExit, match="0"):
        extract_fts.main(["--help"])
    told = capsys.readouterr().out
    for flag in ("output_dir", "data_dir", "model_name", "model_path", "resize_size", "batch_size"):
        assert f"--{flag}" in told
    assert "default: 256" in told


def test_mistakes_are_told_in_one_line_with_exit_code_2(photos, model, tmp_path, capsys):
    assert extract_fts.main(flags(tmp_path / "nothing", model, tmp_path / "out")) == 2
    assert "error: no folder or archive" in capsys.readouterr().err
    assert extract_fts.main(flags(photos, tmp_path / "no.pt", tmp_path / "out")) == 2
    assert "no.pt" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupt_is_left_to_what_runs_the_program(photos, model, tmp_path, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("active_indexing.extraction.extract.extract", interrupted)
    with pytest.raises(KeyboardInterrupt):  # tests/cli/test_interrupts.py: one sentence, 130
        extract_fts.main(flags(photos, model, tmp_path / "out"))
