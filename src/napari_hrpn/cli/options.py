"""Options of commands, made from those of settings classes, and those that several commands share."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

import typer

from napari_hrpn.cli.terminal import CommandError
from napari_hrpn.core.options import Option, options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from distributed import Client

Chosen: TypeAlias = dict[str, Any]
"""What was given of the options of a settings class, by the names of its fields."""

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


class From:
    """Stands in the annotation of a command's parameter that is to get what was chosen of a settings class.

    Of `names`, or of all fields that have a flag; None where an option was not given and `has_defaults` is false.
    """

    def __init__(self, settings: type, *names: str, has_defaults: bool = True) -> None:
        known = options(settings).values()
        self.options = [one for one in known if (one.name in names if names else one.flag)]
        self._has_defaults = has_defaults

    def parameters(self, prefix: str) -> Iterator[inspect.Parameter]:
        """Parameters for typer, a flag each."""
        for one in self.options:
            kind = str if one.choices else next((kind for kind in (bool, int, float) if kind in one.types), str)
            default, words = one.default if self._has_defaults else None, one.help
            if self._has_defaults and default is None and one.automatic != "Automatic":
                words += f" If not given: {one.automatic}."
            shown = typer.Option(one.flag, metavar=one.metavar, help=words)
            annotation = Annotated[kind | None, shown]  # type: ignore[valid-type]
            yield inspect.Parameter(prefix + one.name, _KEYWORD, default=default, annotation=annotation)

    def chosen(self, given: dict[str, Any], prefix: str) -> Chosen:
        """Take the values of these options out of what typer has read."""
        values = {one.name: _value(one, given.pop(prefix + one.name)) for one in self.options}
        return {name: value for name, value in values.items() if value is not None}


def _value(option: Option, given: Any) -> Any:  # noqa: ANN401 (of any option)
    if isinstance(given, str) and option.types == (tuple[str, ...],):
        return tuple(name.strip() for name in given.split(",") if name.strip())
    if isinstance(given, str) and option.is_number:
        try:
            return float(given)
        except ValueError:
            return given
    return given


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameters of a command that are chosen from a settings class by an option for each field."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, From] = {}
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        group = next((one for one in getattr(hints[parameter.name], "__metadata__", ()) if isinstance(one, From)), None)
        if group is None:
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=_KEYWORD))
        else:
            groups[parameter.name] = group
            parameters.extend(group.parameters(f"{parameter.name}_"))

    @wraps(command)
    def _run(**given: Any) -> None:  # noqa: ANN401 (whatever typer has read)
        for name, group in groups.items():
            given[name] = group.chosen(given, f"{name}_")
        command(**given)

    _run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    _run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return _run


def _option(flag: str, metavar: str, words: str) -> Option:
    return Option(title=flag, flag=flag, metavar=metavar, help=words)


@dataclass(frozen=True)
class _Plane:
    series: Annotated[int | None, _option("--series", "N", "Which image of a file with several; else the largest.")] = (
        None
    )
    z: Annotated[int | None, _option("--z", "N", "Which plane of a stack; the middle one if not given.")] = None
    t: Annotated[int | None, _option("--t", "N", "Which point in time; the first if not given.")] = None
    pixel_size: Annotated[
        str | None, _option("--pixel-size", "UM", "Pixel size in µm, or Y,X; what the file says if not given.")
    ] = None


@dataclass(frozen=True)
class _Channels:
    nuclei: Annotated[str | None, _option("--nuclei", "NAME", "Channel of the nuclei: its name or number.")] = None
    vessels: Annotated[str | None, _option("--vessels", "NAME", "Channel of the vessels.")] = None
    probe: Annotated[str | None, _option("--probe", "NAME", "Channel of the probe.")] = None


@dataclass(frozen=True)
class Workers:
    """Processes that share the work of a command."""

    count: Annotated[int | None, _option("--workers", "N", "Work in N processes of this machine, one per GPU.")] = None
    scheduler: Annotated[
        str | None, _option("--scheduler", "tls://HOST:PORT", "Work on the workers of this dask.distributed.")
    ] = None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            msg = f"--workers is {self.count}; expected 1 or more."
            raise CommandError(msg)
        if self.count is not None and self.scheduler is not None:
            msg = "--workers starts processes and --scheduler takes those that run already; give one of them."
            raise CommandError(msg)

    def __bool__(self) -> bool:
        return self.count is not None or self.scheduler is not None

    def connected(self, device: str) -> AbstractContextManager[Client]:
        """Start or find them."""
        from napari_hrpn.inference.cluster import cluster_workers, local_workers

        if self.scheduler is not None:
            return cluster_workers(self.scheduler)
        return local_workers(self.count or 1, device)


PlaneOptions = Annotated[Chosen, From(_Plane)]
ImageOptions = Annotated[Chosen, From(_Plane, "series", "z", "t")]
ChannelOptions = Annotated[Chosen, From(_Channels)]
StainOptions = Annotated[Chosen, From(_Channels, "nuclei", "vessels")]
WorkerOptions = Annotated[Chosen, From(Workers)]
OutputFolder = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for everything that is made.")
]
SlideArgument = Annotated[
    str, typer.Argument(metavar="SLIDE", help="An image file, an OME-Zarr or its address, or a folder of stains.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there already.")]


def opening(plane: Chosen) -> dict[str, Any]:
    """How the slides of a command are opened."""
    text = plane.get("pixel_size")
    image = {name: plane.get(name) for name in ("series", "z", "t")}
    return {**image, "pixel_size_um": None if text is None else _pixel_size(text)}


def _pixel_size(text: str) -> tuple[float, float]:
    if re.fullmatch(r"\s*\d*,\d*\s*", text):
        msg = (
            f"the pixel size {text!r} is one number with a decimal comma or a pair of numbers; write "
            f"{text.replace(',', '.').strip()} for the one, or Y,X with a decimal point, such as 0.50,0.25."
        )
        raise CommandError(msg)
    try:
        height, *rest = (float(part) for part in text.split(","))
        (width,) = rest or [height]
    except ValueError:
        msg = f"the pixel size {text!r} is no number of µm and no pair Y,X of them, such as 0.2744 or 0.50,0.25."
        raise CommandError(msg) from None
    return height, width
