"""Versions of what a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "torchvision", "faiss-gpu", "augly", "kornia", "numpy", "pandas", "pillow", "timm")


def versions() -> dict[str, str]:
    """Python's version, the platform, and the version of every package that results depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
