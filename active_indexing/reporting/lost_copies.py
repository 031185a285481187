"""Lost copies of a run, of which its evaluation kept some: what each was, and what came back instead."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from active_indexing.reporting.recall import label
from active_indexing.reporting.runs import Run

FILE = "lost_copies.json"


@dataclass(frozen=True)
class LostCopy:
    """A copy whose image was not the first answer; a picture that could not be made is an empty text.

    Attributes:
        name: the image, as its input is called.
        attack: what was done to it.
        copy: data URL of the edited copy.
        answer: data URL of what came first.
        right: data URL of the released image.
        answer_name: what came first, for people.
        place: where the right image came, for people.
    """

    name: str
    attack: str
    copy: str
    answer: str
    right: str
    answer_name: str
    place: str


@dataclass(frozen=True)
class Lost:
    """The lost copies of a run.

    Attributes:
        asked: copies that were searched.
        lost: those whose image was not the first answer.
        copies: some of them.
    """

    asked: int
    lost: int
    copies: tuple[LostCopy, ...]


def lost_copies(run: Run) -> Lost | None:
    """What the run kept; ``None`` for runs without retrieval, and of older programs."""
    path = run.folder / FILE
    if not run.content.get("retrieval") or not path.is_file():
        return None
    content = json.loads(path.read_text())
    rows = run.released.drop_duplicates("id").set_index("id")["source"]
    names = {id_: run.short_name(source) for id_, source in rows.items()}
    copies = tuple(_copy(item, content["pictures"], names) for item in content["copies"])
    return Lost(content["asked"], content["lost"], copies)


def _copy(item: dict[str, Any], pictures: dict[str, str], names: dict[int, str]) -> LostCopy:
    def url(which: str) -> str:
        content = pictures.get(item["pictures"].get(which, ""))
        return "" if content is None else f"data:image/jpeg;base64,{content}"

    return LostCopy(
        name=names.get(item["image_index"], str(item["image_index"])),
        attack="random chain" if item["attack"] == "auto" else label((item["attack"], item["attack_param"])),
        copy=url("copy"),
        answer=url("answer"),
        right=url("right"),
        answer_name=_answer_name(item, names),
        place=_place(item),
    )


def _answer_name(item: dict[str, Any], names: dict[int, str]) -> str:
    answer = item["answer"]
    if answer is None:
        return "nothing"
    name = names.get(answer) or item["answer_name"] or f"reference {answer:,}"
    return f"{name}, at {item['distance']:.3f}"


def _place(item: dict[str, Any]) -> str:
    if item["rank"] is None:
        return "not among the answers"
    return f"answer {item['rank'] + 1}, at {item['right_distance']:.3f}"
