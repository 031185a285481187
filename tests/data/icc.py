"""Small ICC profiles made by hand (ICC.1:2001-04), and the colours they stand for."""

import itertools
import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
ADOBE_GAMMA = 563 / 256
GREY_GAMMA = 461 / 256  # about 1.8
# Columns: red, green and blue primaries in XYZ, adapted to D50.
ADOBE_TO_XYZ = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
SRGB_TO_XYZ = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


def adobe_rgb() -> bytes:
    """An RGB display profile with the primaries and gamma of Adobe RGB (1998)."""
    tags = {b"wtpt": _xyz(D50)}
    for name, primary in zip((b"r", b"g", b"b"), ADOBE_TO_XYZ.T, strict=True):
        tags[name + b"XYZ"] = _xyz(primary)
        tags[name + b"TRC"] = _gamma(ADOBE_GAMMA)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey() -> bytes:
    """A grey profile with the gamma of old Macintosh screens."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(D50), b"kTRC": _gamma(GREY_GAMMA)})


def black_only_cmyk() -> bytes:
    """A CMYK profile of a press whose coloured inks are invisible: lightness is 100 - black."""
    ramp = bytes(range(256))
    corners = itertools.product((0, 1), repeat=4)
    lattice = b"".join(bytes([0 if black else 255, 128, 128]) for *_, black in corners)
    identity = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    head = struct.pack(">4sxxxxBBBx9l", b"mft1", 4, 3, 2, *(65536 * value for value in identity))
    return _profile(
        b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(D50), b"A2B0": head + ramp * 4 + lattice + ramp * 3}
    )


def adobe_to_srgb(rgb: np.ndarray) -> np.ndarray:
    """Adobe RGB levels to sRGB levels by the formulas, clipped to what sRGB can show."""
    light = (rgb / 255) ** ADOBE_GAMMA
    return srgb_levels(light @ (np.linalg.inv(SRGB_TO_XYZ) @ ADOBE_TO_XYZ).T)


def srgb_levels(light: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] to sRGB levels (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _xyz(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3l", *(round(65536 * value) for value in values))


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">LHxx", 1, round(256 * value))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"test\0"
    description = b"desc\0\0\0\0" + struct.pack(">L", len(text)) + text + bytes(78)
    tags = {b"desc": description + bytes(-len(description) % 4), **tags}
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">L", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">LL", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">LxxxxL4s4s4s12s4sxxxx", offset + len(body), 0x02400000, kind, space, connection,
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0), b"acsp",
    )  # fmt: skip
    header = header.ljust(68, b"\0") + _xyz(D50)[8:]
    return header.ljust(128, b"\0") + table + body
