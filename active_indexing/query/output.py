"""Answers as text: a table for people, CSV and JSON lines for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from active_indexing.query.answers import Answer, Found

FORMATS = ("table", "csv", "jsonl")
COLUMNS = (
    "query", "verdict", "id", "released", "distance", "score", "normalized", "view",
    "runner_up_id", "runner_up_distance", "look_alikes", "reason",
)  # fmt: skip
TABLE = "{:<9}  {:<40}  {:<40}  {:>8}  {:>6}  {:<9}  {}"
NAME_WIDTH = 40


def row(answer: Answer) -> tuple[Any, ...]:
    """Values of ``COLUMNS``; empty where there is nothing."""
    best, second = answer.best, answer.runner_up
    return (
        answer.query, answer.verdict, *_values(best), answer.view, "" if second is None else second.id,
        "" if second is None else f"{second.distance:.5f}", " ".join(str(each.id) for each in
        answer.look_alikes), answer.reason,
    )  # fmt: skip


def lines(answers: Iterable[Answer], form: str) -> Iterable[str]:
    """Lines of output as the answers come, without line breaks.

    Args:
        answers: any number.
        form: ``table``, ``csv`` or ``jsonl``.
    """
    if form == "jsonl":
        yield from (json.dumps(answer.record(), ensure_ascii=False) for answer in answers)
    elif form == "csv":
        yield _csv_line(COLUMNS)
        yield from (_csv_line(row(answer)) for answer in answers)
    else:
        yield TABLE.format("verdict", "query", "original", "distance", "sigma", "seen in", "also").rstrip()
        yield from (_table_line(answer) for answer in answers)


def _table_line(answer: Answer) -> str:
    best = answer.best
    others = ", ".join(Path(each.released).name for each in answer.look_alikes)
    also = f"looks like {others} too" if others else answer.reason
    if best is None:
        return TABLE.format(answer.verdict, _short(answer.query), "", "", "", "", also).rstrip()
    sigma = "" if best.normalized is None else f"{best.normalized:.1f}"
    values = (
        answer.verdict,
        _short(answer.query),
        _short(best.released),
        f"{best.distance:.3f}",
        sigma,
        answer.view,
    )
    return TABLE.format(*values, also).rstrip()


def _values(found: Found | None) -> tuple[Any, ...]:
    if found is None:
        return ("",) * 5
    sigma = "" if found.normalized is None else f"{found.normalized:.3f}"
    return found.id, found.released, f"{found.distance:.5f}", f"{found.score:.5f}", sigma


def _short(text: str) -> str:
    """The end of a long path, which tells more than its beginning."""
    return text if len(text) <= NAME_WIDTH else "..." + text[-NAME_WIDTH + 3 :]


def _csv_line(values: Iterable[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow([str(value).replace("\n", "\\n") for value in values])
    return text.getvalue()
