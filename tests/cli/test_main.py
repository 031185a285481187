"""The command line; what a run does is tested in test_pipeline.py."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import pytest

import active_indexing
from active_indexing.cli import main
from active_indexing.cli import run as run_command
from active_indexing.config import STAGES, RunConfig, configure

ROOT = Path(__file__).parents[2]

# reference: table of flags of the published program
PUBLISHED = (
    "output_dir verbose seed fts_training_path fts_reference_path data_dir query_nonmatch_dir batch_size "
    "batch_size_eval resize_size model_name model_path idx_dir idx_factory quant nprobe kneighbors "
    "iterations optimizer scheduler target loss_f lambda_f lambda_i use_attenuation scaling scale_channels "
    "use_tanh use_attacks_2 eval_retrieval eval_icd active save_imgs log_freq debug"
).split()
BOOLEANS = (
    "active save_imgs debug use_attenuation scale_channels use_tanh eval_retrieval eval_icd use_attacks_2"
).split()


def actions() -> Iterator[argparse.Action]:
    return (
        action
        for action in main.parser_of("run")._actions
        if action.dest not in ("help", *run_command.NO_SETTINGS)
    )


def test_every_published_flag_is_there() -> None:
    assert {action.dest for action in actions()} >= set(PUBLISHED)


def test_defaults_are_those_of_the_dataclasses() -> None:
    expected = {
        field.name: field.default
        for kind in (RunConfig, *STAGES.values())
        for field in fields(kind)
        if field.name not in STAGES
    }
    for action in actions():
        default = expected.pop(action.dest)
        assert action.default == (None if default is MISSING else default), action.dest
    assert not expected


def test_the_help_explains_every_flag_and_invents_no_path() -> None:
    text = " ".join(main.parser_of("run").format_help().split())
    assert "path/to" not in text
    for action in actions():
        assert f"--{action.dest}" in text
        assert action.help
        assert "(default: " in text.split(f" --{action.dest} ", 1)[1]


def config(*argv: str) -> RunConfig:
    return run_command.config_of(main.parser_of("run").parse_args(["--data_dir", "photos", *argv]))


def test_flags_become_settings() -> None:
    made = config(
        "--iterations", "3", "--scaling", "1.5", "--quant", "IP", "--workers", "0", "--device", "cpu"
    )
    assert made.activation.iterations == 3
    assert made.activation.scaling == 1.5
    assert made.index.quant == "IP"
    assert (made.workers, made.device) == (0, "cpu")
    assert made.index.fts_training_path is None
    assert (made.save_format, made.save_quality) == ("png", None)
    made = config("--save_format", "same", "--save_quality", "85")
    assert (made.save_format, made.save_quality) == ("same", 85)


def test_each_arm_has_its_own_output_folder() -> None:
    assert config().output_dir == Path("output/active")
    assert config("--active", "False").output_dir == Path("output/passive")
    assert config("--output_dir", "mine").output_dir == Path("mine")


@pytest.mark.parametrize("name", BOOLEANS)
def test_booleans_are_strict(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for text, value in {"yes": True, "T": True, "1": True, "No": False, "FALSE": False, "f": False}.items():
        assert config(f"--{name}", text).settings()[name] is value
    for wrong in ("maybe", "", "2", "truee"):
        with pytest.raises(SystemExit) as left:
            config(f"--{name}", wrong)
        assert left.value.code == 2
        assert f"argument --{name}: expected True or False, got {wrong!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--activ", "True"], "unrecognized arguments: --activ True; did you mean --active?"),
        (["--iterations", "ten"], "argument --iterations: invalid int value: 'ten'"),
        (["--quant", "cosine"], "argument --quant: invalid choice: 'cosine'"),
        (["--loss_f", "l1"], "argument --loss_f: invalid choice: 'l1'"),
        (["--save_format", "gif"], "argument --save_format: invalid choice: 'gif'"),
        (["--save_quality", "high"], "argument --save_quality: invalid int value: 'high'"),
        (["--active"], "argument --active: expected one argument"),
    ],
)
def test_wrong_flags_leave_with_2(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main.main(argv)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def result(monkeypatch: pytest.MonkeyPatch, outcome: object) -> list[RunConfig]:
    """Let a run have this outcome."""
    asked = []

    def run(config: RunConfig) -> object:
        asked.append(config)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(active_indexing, "run", run)
    return asked


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a sentence."),
        FileNotFoundError("a sentence."),
        BlockingIOError("a sentence."),
        NotADirectoryError("a sentence."),
        PermissionError("a sentence."),
    ],
)
def test_errors_are_one_sentence_and_leave_with_2(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result(monkeypatch, error)
    assert main.main(["--data_dir", "photos"]) == 2
    assert capsys.readouterr() == ("", "error: a sentence.\n")


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    result(monkeypatch, RuntimeError("a fault"))
    with pytest.raises(RuntimeError, match="a fault"):
        main.main(["--data_dir", "photos"])


def test_an_interrupted_run_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result(monkeypatch, KeyboardInterrupt())
    assert main.main(["--data_dir", "photos"]) == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to go on.\n"


def test_without_data_the_demo_set_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    asked = result(monkeypatch, KeyboardInterrupt())
    main.main(["run"])
    assert asked[0].data_dir == Path("output/demo/photos")
    assert asked[0].evaluation.query_nonmatch_dir == Path("output/demo/non_matching")
    main.main(["--query_nonmatch_dir", "mine"])
    assert asked[1].evaluation.query_nonmatch_dir == Path("mine")
    main.main(["--data_dir", "photos"])
    assert asked[2].evaluation.query_nonmatch_dir is None


def written(folder: Path, **settings: object) -> Path:
    """The run.json that a run with these settings leaves."""
    content = {"config": asdict(configure(data_dir="photos", output_dir="out", **settings))}
    path = folder / "run.json"
    path.write_text(json.dumps(content, default=str))
    return path


def test_a_run_is_repeated_from_its_run_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = written(tmp_path, psnr=44.0, nprobe=3, eval_icd=False, model_path="weights.pt")
    asked = result(monkeypatch, KeyboardInterrupt())
    main.main(["--config", str(path)])
    assert asked[0] == configure(
        data_dir="photos", output_dir="out", psnr=44.0, nprobe=3, eval_icd=False, model_path="weights.pt"
    )
    main.main(["--nprobe", "5", "--config", str(path), "--output_dir", "again", "--eval_icd", "True"])
    assert (asked[1].index.nprobe, asked[1].activation.psnr) == (5, 44.0)
    assert (asked[1].output_dir, asked[1].evaluation.eval_icd) == (Path("again"), True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "--config wants the run.json of a finished run, and .*run.json is none"),
        ("nothing", "--config wants the run.json of a finished run"),
        ('{"config": 3}', "--config wants the run.json of a finished run"),
        ('{"config": {"seed": 3, "colour": 1}}', "holds settings of another version: colour"),
        ('{"config": {"data_dir": "photos", "index": {"nprobe": 0}}}', "--nprobe must be at least 1, got 0"),
        ('{"config": {"data_dir": "photos", "seed": "x"}}', "argument --seed: invalid int value: 'x'"),
    ],
)
def test_a_file_that_is_no_run_json_is_refused(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text(content)
    assert code_of(["--config", str(tmp_path / "run.json")]) == 2
    assert re.search(message, capsys.readouterr().err)


def code_of(argv: list[str]) -> int:
    try:
        return main.main(argv)
    except SystemExit as left:
        return int(str(left.code))


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == main.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, sentence in main.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(sentence)}$", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: active-indexing {name} ")
    command = importlib.import_module(f"active_indexing.cli.{name}")
    assert command.__doc__.splitlines()[0] in shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["relase"], "unknown command 'relase'"),
        (["rum"], "unknown command 'rum'; did you mean run?"),
        (["zebra"], "unknown command 'zebra'; active-indexing --help lists them."),
        (["run", "--iteration", "3"], "unrecognized arguments: --iteration 3; did you mean --iterations?"),
        (["run", "--save-format=png"], "--save-format=png; did you mean --save_format?"),
        (["run", "--zebra"], "unrecognized arguments: --zebra\n"),
        (["report"], "the following arguments are required: OUTPUT"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_word(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(argv) == 2
    assert message in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"active-indexing {active_indexing.__version__}\n"


def test_help_and_typos_need_neither_torch_nor_faiss() -> None:
    program = (
        "import sys; from active_indexing.cli.main import main; main(['--version']); main(['rum']);"
        "assert not {'torch', 'faiss', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python_m_is_the_command() -> None:
    for argv in (["-m", "active_indexing", "--version"], ["main.py", "--help"]):
        done = subprocess.run([sys.executable, *argv], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(("active-indexing ", "usage: main.py "))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_running_out_of_memory_is_told_in_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(_: object) -> None:
        raise error

    monkeypatch.setattr(active_indexing, "run", run)
    assert main.main(["run", "--data_dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: not enough memory; give fewer --workers")


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn_and_stop(config: RunConfig) -> None:
        warnings.warn("no report.html: a reason", stacklevel=2)
        raise ValueError("a sentence.")

    monkeypatch.setattr(active_indexing, "run", warn_and_stop)
    assert main.main(["--data_dir", "photos"]) == 2
    assert capsys.readouterr().err == "warning: no report.html: a reason\nerror: a sentence.\n"


def test_a_config_that_is_a_pipe_or_nested_without_end_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    assert main.main(["run", "--config", str(tmp_path / "pipe.json")]) == 2
    assert "pipe.json is a pipe or a device, expected a regular file" in capsys.readouterr().err
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert main.main(["run", "--config", str(tmp_path / "deep.json")]) == 2
    assert "--config wants the run.json of a finished run" in capsys.readouterr().err
