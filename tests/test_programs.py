"""What the tests stand on."""

from __future__ import annotations

import logging

from tests.programs import in_a_fork, run_script


def test_a_log_about_a_file_whose_name_is_no_utf8_does_not_end_the_run_of_several_processes() -> None:
    logging.getLogger(__name__).warning("photo\udcff.png")  # pytest-xdist could not send it


def test_a_fork_gives_its_result_and_a_script_its_exit_code() -> None:
    held: list[int] = []
    assert in_a_fork(lambda: held.append(1) or held) == [1]
    assert held == []
    assert run_script("main.py", "--help") == 0
