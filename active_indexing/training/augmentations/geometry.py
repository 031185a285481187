"""Where the picture ends up: crop, flip, rotation, caption bands, padding, a page; one affine map per view.

Frames, all with axes x to the right and y down, all running from -1 to 1:
 source   the stored square image;
 picture  the cropped part of it, which is shown at the true aspect ratio (a width and a height);
 box      the rectangle around the rotated picture;
 canvas   the whole view: the box with bands, padding or a page around it, squeezed to a square.
Every operation maps one frame to the next, so that a view is sampled once, from the source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from active_indexing.training.augmentations.random_draws import Draws

# Which right angles are drawn: a half turn is rarer than a quarter.
RIGHT_ANGLES = (90.0, -90.0, 90.0, -90.0, 180.0)


@dataclass(frozen=True)
class Frame:
    """What is around the box, one value per view.

    Attributes:
        width, height: of the canvas, in units of the picture's frame.
        x, y: centre of the box on the canvas, same units.
        caption: bool, a band above or below.
        below: bool, the band is below.
        band: height of the band, same units.
        page: bool, the box lies on a page.
    """

    width: torch.Tensor
    height: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    caption: torch.Tensor
    below: torch.Tensor
    band: torch.Tensor
    page: torch.Tensor


@dataclass(frozen=True)
class Layout:
    """Affine maps of a batch of views, each (B, 2, 3), from canvas coordinates.

    Attributes:
        to_source: where in the stored image each pixel of the view comes from.
        to_picture: inside [-1, 1]^2 the picture is visible.
        to_box: inside [-1, 1]^2 but outside the picture are the corners that a rotation leaves.
        shrink: (B,) source pixels per view pixel along one axis, if both were of one size.
        surround: what is around the box.
        kept: (B,) bool, the picture is neither cut nor turned, by design.
    """

    to_source: torch.Tensor
    to_picture: torch.Tensor
    to_box: torch.Tensor
    shrink: torch.Tensor
    surround: Frame
    kept: torch.Tensor


def draw_layout(draws: Draws, ranges: FrameRanges | None = None) -> Layout:
    """Random layouts of edited copies; about half are cropped, a third rotated, half framed.

    Args:
        draws: the stream.
        ranges: of what is around the box; ``None`` are the defaults.
    """
    ranges = ranges or FrameRanges()
    kept, on_page = draw_kept(draws, ranges)
    scale_x, scale_y, shift_x, shift_y = draw_crop(draws, kept)
    # The stored square was squeezed from a picture of unknown aspect ratio.
    stretch = torch.where(draws.chance(0.7), draws.log_uniform(0.6, 1.7), 1.0)
    ratio = stretch * scale_x / scale_y
    width, height = ratio.sqrt(), 1 / ratio.sqrt()
    angle, zoom = draw_rotation(draws, kept)
    cos, sin = angle.cos(), angle.sin()
    box_width = zoom * (width * cos.abs() + height * sin.abs())
    box_height = zoom * (width * sin.abs() + height * cos.abs())
    around = draw_surround(draws, box_width, box_height, ranges, kept, on_page)
    flip_x, flip_y = draws.sign(0.15), draws.sign(0.05)
    to_picture = torch.stack(
        [
            _row(cos * around.width, sin * around.height, -(cos * around.x + sin * around.y), flip_x / width),
            _row(-sin * around.width, cos * around.height, sin * around.x - cos * around.y, flip_y / height),
        ],
        dim=1,
    )
    zero = torch.zeros_like(width)
    to_box = torch.stack(
        [
            _row(around.width, zero, -around.x, 1 / box_width),
            _row(zero, around.height, -around.y, 1 / box_height),
        ],
        dim=1,
    )
    scale = torch.stack([scale_x, scale_y], dim=1)
    to_source = to_picture * scale[:, :, None]
    to_source[:, :, 2] += torch.stack([shift_x, shift_y], dim=1)
    area = around.width * around.height / (box_width * box_height) * scale_x * scale_y * zoom**2
    return Layout(to_source, to_picture, to_box, area.sqrt(), around, kept)


def _row(x: torch.Tensor, y: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.stack([x, y, shift], dim=1) * scale[:, None]


def draw_kept(draws: Draws, ranges: FrameRanges) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pictures stay whole and upright, and which of these lie on a page; (B,) bool each."""
    if not ranges.whole_page + ranges.plain:  # draws nothing, so that other streams stay what they were
        none = torch.zeros(draws.count, dtype=torch.bool, device=draws.device)
        return none, none
    kind = draws.uniform()
    return kind < ranges.whole_page + ranges.plain, kind < ranges.whole_page


def draw_crop(
    draws: Draws, kept: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Half sides and centre of the part that is kept, in the source frame; half of the views keep all."""
    area, ratio = draws.uniform(0.12, 1.0), draws.log_uniform(0.7, 1.43)
    cropped = draws.chance(0.5) & ~kept
    scale_x = torch.where(cropped, (area * ratio).sqrt().clamp(max=1), 1.0)
    scale_y = torch.where(cropped, (area / ratio).sqrt().clamp(max=1), 1.0)
    free = (~draws.chance(0.3)).float()  # the others are cropped around the centre
    shift_x = draws.uniform(-1, 1) * (1 - scale_x) * free
    shift_y = draws.uniform(-1, 1) * (1 - scale_y) * free
    return scale_x, scale_y, shift_x, shift_y


def draw_rotation(draws: Draws, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Angle in radians, and size of the box in units of the full bounding box.

    A fifth is turned by up to 100 degrees and a sixth by right angles. Below 1, the box cuts the corners off
    (rotation without black corners); 1 shows them all.
    """
    kind = torch.where(kept, 1.0, draws.uniform())
    tilted, right = kind < 0.20, (kind >= 0.20) & (kind < 0.36)
    degrees = torch.where(tilted, draws.uniform(-100, 100), 0.0)
    right_angles = torch.tensor(RIGHT_ANGLES, device=draws.device)[draws.integers(len(RIGHT_ANGLES))]
    degrees = torch.where(right, right_angles, degrees)
    zoom = torch.where(tilted & draws.chance(0.3), draws.uniform(0.55, 0.8), 1.0)
    return degrees * (math.pi / 180), zoom


@dataclass(frozen=True)
class FrameRanges:
    """How often the box is framed, and how tightly.

    Attributes:
        caption, padded, page: shares of the views that get each.
        band: height of a caption, in heights of the box, lowest and highest.
        page_width, page_height: of the box, in units of the page, lowest and highest.
        whole_page: share of pictures that lie on a page whole and upright, as screenshots show them; the
            shares above are those of the rest.
        plain: share of pictures that are whole and upright with nothing around.
    """

    caption: float = 0.20
    padded: float = 0.08
    page: float = 0.22
    band: tuple[float, float] = (0.15, 0.95)
    page_width: tuple[float, float] = (0.25, 0.85)
    page_height: tuple[float, float] = (0.25, 0.85)
    whole_page: float = 0.0
    plain: float = 0.0


def draw_surround(
    draws: Draws,
    width: torch.Tensor,
    height: torch.Tensor,
    ranges: FrameRanges,
    kept: torch.Tensor,
    on_page: torch.Tensor,
) -> Frame:
    """What is around the box; by default a fifth get a caption, 8 % are padded, a good fifth lie on a page.

    Args:
        draws: the stream.
        width: of the box, (B,).
        height: of the box, (B,).
        ranges: shares and sizes.
        kept: (B,) bool, has nothing around it but perhaps a page.
        on_page: (B,) bool, lies on a page.
    """
    kind = torch.where(kept, 1.0, draws.uniform())
    first, second = ranges.caption, ranges.caption + ranges.padded
    caption, padded = kind < first, (kind >= first) & (kind < second)
    page = on_page | (kind >= second) & (kind < second + ranges.page)
    band = height * draws.uniform(*ranges.band)
    both, below = draws.chance(0.15), draws.chance(0.25)
    side = torch.maximum(width, height) * draws.uniform(1.0, 1.3)
    canvas_width = torch.where(padded, side, width)
    canvas_height = torch.where(padded, side, torch.where(caption, height + band * (1 + 0.5 * both), height))
    canvas_width = torch.where(page, width / draws.log_uniform(*ranges.page_width), canvas_width)
    canvas_height = torch.where(page, height / draws.log_uniform(*ranges.page_height), canvas_height)
    # A band on one side pushes the picture to the other; with a half band there, by half as much.
    push = torch.where(below, -1.0, 1.0) * band * (1 - 0.5 * both)
    free_x = draws.uniform(-1, 1) * (canvas_width - width)
    free_y = draws.uniform(-1, 1) * (canvas_height - height)
    x = torch.where(page, free_x, torch.zeros_like(width))
    y = torch.where(page, free_y, torch.where(caption, push, torch.zeros_like(height)))
    return Frame(canvas_width, canvas_height, x, y, caption, below, band, page)


def inside(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Which pixels of a view map into [-1, 1]^2.

    Args:
        maps: (B, 2, 3) affine maps from canvas coordinates.
        size: width and height of the views, pixels.

    Returns:
        (B, 1, size, size) bool.
    """
    middle = (torch.arange(size, device=maps.device, dtype=maps.dtype) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)
    return ((maps @ points).abs() <= 1).all(dim=1).view(len(maps), 1, size, size)


def box_map(x: torch.Tensor, y: torch.Tensor, width: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
    """Maps from canvas coordinates to an upright box with this centre and these half sides, (B, 2, 3)."""
    zero = torch.zeros_like(x)
    return torch.stack([_row(zero + 1, zero, -x, 1 / width), _row(zero, zero + 1, -y, 1 / height)], dim=1)
