"""Thresholds for a chosen rate of false alarms, from a run's queries that match nothing.

    python scripts/calibrate.py OUTPUT --false_positive_rate 0.01

OUTPUT is the output folder of a run of main.py with --query_nonmatch_dir. Two thresholds are found: of the
distance (or inner product) that the index gives, and of the score less the next neighbour's score. They are
saved as JSON beside the index file in --idx_dir, with their 95 % intervals and what they hold for; a run with
the embedded index, or away from its index, keeps them in OUTPUT. Only protected images count as answers,
references never. The rarer the false alarms, the more queries are needed: 0.001 wants thousands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from active_indexing.cli.interrupts import run_program
from active_indexing.metrics.bootstrap import LEVEL
from active_indexing.metrics.thresholds import Threshold
from active_indexing.query.calibration import Calibration, calibrate, calibration_path, save_calibration


def parser() -> argparse.ArgumentParser:
    """The flags."""
    built = argparse.ArgumentParser(
        prog="calibrate.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    built.add_argument("folder", type=Path, help="output folder of main.py")
    built.add_argument("--false_positive_rate", type=float, default=0.01, help="default: %(default)s")
    built.add_argument("--level", type=float, default=LEVEL, help="of the intervals, default: %(default)s")
    built.add_argument("--output", type=Path, help="where the thresholds go (default: beside the index)")
    return built


def report(calibration: Calibration) -> str:
    """The thresholds in words."""
    side = "an inner product above" if calibration.quant == "IP" else "a distance below"
    lines = [
        f"{calibration.queries:,} queries without a match ({calibration.answered:,} of them answered with a "
        f"protected image), {calibration.matching:,} with one, "
        f"false-positive rate {calibration.false_positive_rate:g}, "
        f"{100 * calibration.level:g} % intervals",
        _line(f"accept an answer with {side}", calibration.distance),
        _line("or with a score, less the next neighbour's, above", calibration.normalized),
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; 2 when something must be put right first."""
    arguments = parser().parse_args(argv)
    try:
        calibration = calibrate(arguments.folder, arguments.false_positive_rate, arguments.level)
        path = arguments.output or calibration_path(arguments.folder)
        save_calibration(calibration, path)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report(calibration))
    if calibration.queries * calibration.false_positive_rate < 1:
        print(
            f"warning: {calibration.queries:,} queries are too few for a rate of "
            f"{calibration.false_positive_rate:g}; give --query_nonmatch_dir more images.",
            file=sys.stderr,
        )
    print(f"the thresholds are in {path}")
    return 0


def _line(words: str, threshold: Threshold) -> str:
    value = "anything" if threshold.value is None else f"{threshold.value:.5g}"
    lines = f"{words} {value} (interval {_end(threshold.low)} to {_end(threshold.high)})"
    lines += f"\n  true false-positive rate {threshold.rate_low:.2g} to {threshold.rate_high:.2g}"
    if threshold.recall is not None:
        lines += (
            f", right answers accepted {threshold.recall:.3f} "
            f"({threshold.recall_low:.3f} to {threshold.recall_high:.3f})"
        )
    return lines


def _end(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.5g}"


if __name__ == "__main__":
    run_program(main)
