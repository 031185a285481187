"""Reads dependencies from requirements.txt: its first part, and an extra for every ``# [name]`` after it."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent


def parts(text: str) -> dict[str, list[str]]:
    """Requirements by extra; those of the package itself stand under an empty name."""
    found: dict[str, list[str]] = {"": []}
    for line in text.splitlines():
        requirement, _, comment = (half.strip() for half in line.partition("#"))
        if not requirement and comment.startswith("[") and "]" in comment:
            found[comment[1 : comment.index("]")]] = []
        elif requirement and not requirement.startswith("-"):
            found[list(found)[-1]].append(requirement)
    return found


everything = parts((HERE / "requirements.txt").read_text())
needed = everything.pop("")
tools = parts((HERE / "requirements-dev.txt").read_text())[""]
setup(install_requires=needed, extras_require={**everything, "dev": tools})
