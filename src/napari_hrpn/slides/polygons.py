"""Polygons with holes on a pixel grid: rasterised, joined into one outline, and split again without changing pixels.

A polygon is its outline and then its holes; each is a ring, an array of shape (n, 2) of y and x without the first point
repeated at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ring = NDArray[np.float64]
    Polygons = tuple[tuple[Ring, ...], ...]

_ROUNDING = 1e-9
_ELLIPSE_POINTS = 180


def painted(
    polygons: Polygons, rows: slice, columns: slice, downsample: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.bool_]:
    """Which pixels of a rectangle of a level have their centre in at least one polygon, given at full resolution."""
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
    corner = rows.start, columns.start
    for polygon in polygons:
        _paint(mask, [ring / downsample - corner - 0.5 for ring in polygon])
    return mask


def _paint(mask: NDArray[np.bool_], rings: Sequence[Ring]) -> None:
    """Set the pixels whose centres, at whole coordinates, are inside an odd number of rings.

    Each edge inverts the pixels to its right, row by row. `skimage.draw.polygon` tests each pixel against each edge
    instead, which takes minutes for a traced outline of 10,000 points on 4096 px.
    """
    edges = np.concatenate([np.stack([ring, np.roll(ring, -1, axis=0)], axis=1) for ring in rings])
    low, high = edges[:, :, 0].min(axis=1), edges[:, :, 0].max(axis=1)
    first, last = (np.clip(np.ceil(end), 0, mask.shape[0]).astype(np.intp) for end in (low, high))
    counts = last - first
    total = int(counts.sum())
    if not total:
        return
    rows = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    (y0, x0), (y1, x1) = (np.repeat(edges[:, end], counts, axis=0).T for end in (0, 1))
    crossings = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
    columns = np.clip(np.ceil(crossings), 0, mask.shape[1]).astype(np.intp)
    top, left = int(rows.min()), int(columns.min())
    turned = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), np.uint8)
    np.bitwise_xor.at(turned, (rows - top, columns - left), 1)
    inside = np.bitwise_xor.accumulate(turned, axis=1)[:, :-1].astype(bool)
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside


def one_stroke(polygons: Polygons) -> Ring:
    """All rings joined into one ring: a point is inside if it is inside an odd number of rings.

    The line goes from the first ring to each other ring and back the same way, so the connections enclose no area.
    """
    first, *others = (ring for polygon in polygons for ring in polygon)
    if not others:
        return first
    start = first[:1]
    ways = [np.concatenate([ring, ring[:1], start]) for ring in others]
    # the last connection back is the edge that closes the ring
    return np.concatenate([first, start, *ways])[:-1]


def loops(ring: Ring) -> list[Ring]:
    """Closed loops of a line that crosses itself at its points; connections that go back the same way are left out."""
    path: list[tuple[float, float]] = []
    found = []
    where: dict[tuple[float, float], int] = {}
    for point in [*map(tuple, ring.tolist()), tuple(ring[0].tolist())]:
        if point in where:
            start = where[point]
            loop = path[start:]
            for gone in loop:
                where.pop(gone)
            del path[start:]
            if len(loop) > 2:
                found.append(np.array(loop))
        where[point] = len(path)
        path.append(point)
    return found


def nested(rings: Sequence[Ring]) -> Polygons:
    """Polygons with their holes: a ring in an odd number of others is a hole in the smallest of them."""
    from matplotlib.path import Path

    if len(rings) < 2:
        return tuple((ring,) for ring in rings)
    paths = [Path(ring) for ring in rings]
    areas = [abs(_area(ring)) for ring in rings]
    around = [
        # more than half of its points, because some may lie on the other ring
        [k for k in range(len(rings)) if areas[k] > areas[i] and paths[k].contains_points(ring).mean() > 0.5]
        for i, ring in enumerate(rings)
    ]
    polygons = {i: [rings[i]] for i, others in enumerate(around) if len(others) % 2 == 0}
    for i, others in enumerate(around):
        if i not in polygons:
            polygons[min((k for k in others if k in polygons), key=lambda k: areas[k])].append(rings[i])
    return tuple(map(tuple, polygons.values()))


def ellipse(centre: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]) -> Ring:
    """An ellipse as a polygon, from its centre and two semi-axes as y and x."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(angles) * first + np.sin(angles) * second)


def is_on_a_line(ring: Ring) -> bool:
    """Whether all points of a ring are on one straight line, so that it has no area."""
    steps = (ring - ring[0]) @ (1, 1j)
    furthest = steps[np.abs(steps).argmax()]
    aside = np.abs((steps * furthest.conj()).imag)
    return bool(aside.max() <= _ROUNDING * abs(furthest) ** 2)


def _area(ring: Ring) -> float:
    y, x = ring.T
    return float(np.dot(y, np.roll(x, -1)) - np.dot(x, np.roll(y, -1))) / 2
