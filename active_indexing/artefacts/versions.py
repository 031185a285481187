"""Versions of what a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "augly": ("augly",),
    "kornia": ("kornia",),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "pillow": ("pillow",),
    "timm": ("timm",),
}
"""What results depend on, and the packages that bring it."""


def versions() -> dict[str, str]:
    """Python's version, the platform, and the version of every package that results depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    return found | {name: _version(packages) for name, packages in PACKAGES.items()}


def _version(packages: tuple[str, ...]) -> str:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "not installed"
