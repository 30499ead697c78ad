"""Command-line options made from settings classes, and options that several commands share."""

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
"""Values of the options that the user gave, by the names of the settings' fields."""

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_LOG_OPTION = typer.Option(metavar="FILE", help="Append what is done, and all warnings and errors, to this log.")
_LOG = inspect.Parameter("log", _KEYWORD, default=None, annotation=Annotated[str | None, _LOG_OPTION])


class From:
    """Annotation of a command's parameter: makes an option for each field of a settings class, and passes the values.

    The fields are `names`, or all that have a flag. Without `has_defaults`, options that are not given are left out.
    """

    def __init__(self, settings: type, *names: str, has_defaults: bool = True) -> None:
        known = options(settings).values()
        self.options = [option for option in known if (option.name in names if names else option.flag)]
        self._has_defaults = has_defaults

    def parameters(self, prefix: str) -> Iterator[inspect.Parameter]:
        """Parameters for typer, one for each option."""
        for option in self.options:
            is_text = bool(option.choices) or str in option.types
            kind = str if is_text else next((kind for kind in (bool, int, float) if kind in option.types), str)
            default, help_text = option.default if self._has_defaults else None, option.help
            if self._has_defaults and default is None and option.automatic != "Automatic":
                help_text += f" If not given: {option.automatic}."
            typer_option = typer.Option(*option.flag.split(), metavar=option.metavar, help=help_text)
            annotation = Annotated[kind | None, typer_option]  # type: ignore[valid-type]
            yield inspect.Parameter(prefix + option.name, _KEYWORD, default=default, annotation=annotation)

    def chosen(self, given: dict[str, Any], prefix: str) -> Chosen:
        """Remove the values of these options from what typer has parsed, and return them by field."""
        values = {option.name: _value(option, given.pop(prefix + option.name)) for option in self.options}
        return {name: value for name, value in values.items() if value is not None}


def _value(option: Option, given: Any) -> Any:  # noqa: ANN401 (a value of any option)
    if isinstance(given, str) and option.types == (tuple[str, ...],):
        return tuple(name.strip() for name in given.split(",") if name.strip())
    if isinstance(given, str) and {int, str} <= set(option.types):
        return int(given) if re.fullmatch(r"-?\d{1,9}", given) else given
    if isinstance(given, str) and option.is_number:
        try:
            return float(given)
        except ValueError:
            # the check of the settings names the allowed words and range
            return given
    return given


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter annotated with `From` by the options of its settings class, and add --log."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, From] = {}
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        metadata = getattr(hints[parameter.name], "__metadata__", ())
        group = next((item for item in metadata if isinstance(item, From)), None)
        if group is None:
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=_KEYWORD))
        else:
            groups[parameter.name] = group
            parameters.extend(group.parameters(f"{parameter.name}_"))

    parameters.append(_LOG)

    @wraps(command)
    def _run(**given: Any) -> None:  # noqa: ANN401 (values of all options)
        # the log is started before the words are parsed
        del given["log"]
        for name, group in groups.items():
            given[name] = group.chosen(given, f"{name}_")
        command(**given)

    # typer makes its options from the signature and the annotations of a function
    _run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    _run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return _run


def _option(flag: str, metavar: str, words: str) -> Option:
    return Option(title=flag, flag=flag, metavar=metavar, help=words)


@dataclass(frozen=True)
class _Plane:
    series: Annotated[int | None, _option("--series", "N", "Image in the file; the largest if not given.")] = None
    z: Annotated[
        int | str | None,
        _option("--z", "N|max", "Plane of a stack, or the maximum over all; the middle plane if not given."),
    ] = None
    t: Annotated[int | None, _option("--t", "N", "Time point; the first if not given.")] = None
    pixel_size: Annotated[
        str | None, _option("--pixel-size", "UM", "Pixel size in µm, or Y,X; the file's own if not given.")
    ] = None


@dataclass(frozen=True)
class _Channels:
    nuclei: Annotated[str | None, _option("--nuclei", "NAME", "Channel of the nuclei: its name or number.")] = None
    vessels: Annotated[str | None, _option("--vessels", "NAME", "Channel of the vessels.")] = None
    probe: Annotated[str | None, _option("--probe", "NAME", "Channel of the probe.")] = None


@dataclass(frozen=True)
class Workers:
    """Processes that share the work of a command."""

    count: Annotated[int | None, _option("--workers", "N", "Use N processes of this machine, one per GPU.")] = None
    scheduler: Annotated[
        str | None, _option("--scheduler", "tls://HOST:PORT", "Use the workers of this dask.distributed scheduler.")
    ] = None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            msg = f"--workers is {self.count}; expected 1 or more."
            raise CommandError(msg)
        if self.count is not None and self.scheduler is not None:
            msg = "--workers starts processes and --scheduler uses processes that run already; give one of the two."
            raise CommandError(msg)

    def __bool__(self) -> bool:
        return self.count is not None or self.scheduler is not None

    def connected(self, device: str) -> AbstractContextManager[Client]:
        """Start the processes, or connect to running ones, for the length of a block."""
        from napari_hrpn.inference.cluster import cluster_workers, local_workers

        if self.scheduler is not None:
            return cluster_workers(self.scheduler)
        return local_workers(self.count or 1, device)


PlaneOptions = Annotated[Chosen, From(_Plane)]
ImageOptions = Annotated[Chosen, From(_Plane, "series", "z", "t")]
ChannelOptions = Annotated[Chosen, From(_Channels)]
StainOptions = Annotated[Chosen, From(_Channels, "nuclei", "vessels")]
WorkerOptions = Annotated[Chosen, From(Workers)]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="NAME",
        help="Use only objects of this class in GeoJSON, and of those derived from it, such as NAME: Positive; others, "
        "also those that exclude, are left out. Repeat for more.",
    ),
]
OutputFolder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for all output files.")]
SlideArgument = Annotated[
    str, typer.Argument(metavar="SLIDE", help="An image file, an OME-Zarr or its address, or a folder of stains.")
]
OmeZarr = Annotated[
    str | None,
    typer.Option("--ome-zarr", metavar="VERSION", help="0.4 or 0.5, which not all programs read; 0.5 if not given."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists already.")]


def chosen_classes(classes: list[str] | None, files: dict[str, Path | None]) -> tuple[str, ...]:
    """Classes that the user chose, if a file is given that they can be chosen from; `files` are named by options."""
    if classes and not any(files.values()):
        words = f"--class chooses objects of a file that is not given; give it together with {' or '.join(files)}."
        raise CommandError(words)
    return tuple(classes or ())


def opening(plane: Chosen) -> dict[str, Any]:
    """Arguments of `open_slide` from the options of a command."""
    text = plane.get("pixel_size")
    image = {name: plane.get(name) for name in ("series", "z", "t")}
    return {**image, "pixel_size_um": None if text is None else _pixel_size(text)}


def _pixel_size(text: str) -> tuple[float, float]:
    # 0,25 may be meant as 0.25 or as the pair 0 and 25
    if re.fullmatch(r"\s*\d*,\d*\s*", text):
        msg = (
            f"the pixel size {text!r} could be a number with a decimal comma or a pair of numbers; write "
            f"{text.replace(',', '.').strip()} for a number, or Y,X with decimal points, such as 0.50,0.25."
        )
        raise CommandError(msg)
    try:
        height, *rest = (float(part) for part in text.split(","))
        (width,) = rest or [height]
    except ValueError:
        msg = f"the pixel size {text!r} is neither a number of µm nor a pair Y,X, such as 0.2744 or 0.50,0.25."
        raise CommandError(msg) from None
    return height, width
