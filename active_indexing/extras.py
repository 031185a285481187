"""Third parties that only some of the work needs, and what to install where one is absent."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any


class MissingExtraError(ImportError):
    """A library that ``pip install active-indexing`` alone does not bring."""


def third_party(module: str, extra: str) -> Any:
    """A library, imported when it is needed.

    Args:
        module: e.g. ``timm.optim``.
        extra: section of requirements.txt that brings it.

    Raises:
        MissingExtraError: it is not installed; names the extra.
    """
    require(module.partition(".")[0], extra)
    return importlib.import_module(module)


def require_for_reports() -> None:
    """Refuse to go on without what pages and tables need.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for package in ("matplotlib", "pandas", "sklearn"):
        require(package, "report")


def require_for_service() -> None:
    """Refuse to go on without what answers over HTTP need.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        require(package, "service")


def require(package: str, extra: str) -> None:
    """Refuse to go on without a library, before any work is done; imports nothing.

    Raises:
        MissingExtraError: it is not installed; names the extra.
    """
    if find_spec(package) is None:
        raise MissingExtraError(
            f"this needs {package}, which is not installed; pip install 'active-indexing[{extra}]' brings it."
        )
