"""Ensemble of checkpoints: which fit together, and mean and standard deviation between their predictions."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.errors import PredictionError
from napari_hrpn.slides.resampling import PIXEL_SIZE_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis import ErrorModel
    from napari_hrpn.models import Checkpoint

_ROWS = 256


def checked_members(members: Sequence[Checkpoint], names: Sequence[str] = ()) -> tuple[Checkpoint, ...]:
    """Members of an ensemble, whose predictions of a slide are grey levels of the same pixels.

    If a user has named them, each network may be named once.
    """
    if not members:
        msg = "there is no checkpoint to predict with; expected one, or several for an ensemble."
        raise PredictionError(msg)
    known: dict[str, str] = {}
    for name, member in zip(names, members, strict=False):
        if (earlier := known.setdefault(member.digest, name)) is not name:
            msg = f"{name} is the same network as {earlier}, so there would be no deviation; leave one of them out."
            raise PredictionError(msg)
    first = members[0]
    for number, other in enumerate(members[1:], start=2):
        for what, found, expected in zip(_KINDS, _kind(other), _kind(first), strict=True):
            if found != expected:
                raise _differ(number, what, found, expected)
        sizes = other.card.pixel_size_um, first.card.pixel_size_um
        tolerance = 0 if first.card.resamples else PIXEL_SIZE_TOLERANCE
        if None not in sizes and abs(sizes[0] / sizes[1] - 1) > tolerance:  # type: ignore[operator]
            raise _differ(number, "pixel size", *(f"{size:g} µm" for size in sizes))
    return tuple(members)


_KINDS = ("inputs", "target", "pixel type", "resampling", "pixel size", "distance to vessels", "stride")


def _kind(member: Checkpoint) -> tuple[object, ...]:
    """All that must be equal between members, in words; pixel sizes may be known to differ a little."""
    card = member.card
    return (
        ", ".join(card.input_roles),
        card.target,
        card.dtype,
        "on" if card.resamples else "off",
        "known" if card.pixel_size_um else "unknown",
        card.distance or "none",
        f"{member.settings.stride} px",
    )


def _differ(number: int, what: str, found: object, expected: object) -> PredictionError:
    return PredictionError(
        f"the checkpoints are no ensemble: {what} {found} in checkpoint {number} and {expected} in the first one; "
        "choose checkpoints that were trained alike, such as the folds of one study."
    )


def ensemble_digest(digests: Sequence[str]) -> str:
    """Hash of an ensemble, of the form of a checkpoint's; that of a single checkpoint stays its own."""
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]


def ensemble_title(members: Sequence[Checkpoint]) -> str:
    """Title of an ensemble, for people."""
    others = f" and {len(members) - 1} more" if len(members) > 1 else ""
    return f"{members[0].card.title}{others}"


def mean_and_sd(images: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean and standard deviation (ddof=1) of two or more images, which are taken one by one; shape (2, y, x)."""
    statistics, count = np.zeros((2, 0, 0), np.float32), 0
    for image in images:
        count += 1
        if count == 1:
            statistics = np.zeros((2, *image.shape), np.float32)
        _update(statistics, image, count)
        # freed before the next member runs
        del image
    statistics[1] /= count - 1
    np.sqrt(statistics[1], out=statistics[1])
    return statistics


def with_error_model(levels: NDArray[np.float32], errors: ErrorModel | None) -> NDArray[np.float32]:
    """Predicted grey levels, and the larger one of the spread between networks, if there are several, and their errors.

    Shape (1, y, x) or (2, y, x); the same if no errors are known.
    """
    if errors is None:
        return levels
    found = np.zeros((2, *levels.shape[1:]), np.float32)
    found[: len(levels)] = levels
    for top in range(0, found.shape[1], _ROWS):
        predicted, sd = found[:, top : top + _ROWS]
        np.maximum(sd, errors.sd_at(predicted), out=sd, casting="same_kind")
    return found


def _update(statistics: NDArray[np.float32], image: NDArray[np.float32], count: int) -> None:
    """Add an image to the mean and the sum of squared differences: Welford's recurrence, in double precision."""
    mean, squares = statistics
    for top in range(0, len(image), _ROWS):
        rows = slice(top, top + _ROWS)
        difference = image[rows] - mean[rows].astype(np.float64)
        mean[rows] += difference / count
        squares[rows] += difference * (image[rows] - mean[rows].astype(np.float64))
