"""Paths on this machine, as users type them, and addresses of object storage such as s3://bucket/name.

The rule: a `pathlib.Path` is on this machine, a `UPath` in object storage. Only this module handles the difference.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from napari_hrpn.slides.errors import SlideError, short_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upath import UPath
    from zarr.storage import FsspecStore

Location: TypeAlias = "Path | UPath"
PlaceLike: TypeAlias = "str | os.PathLike[str] | UPath"

ZARR_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_CONNECTING_SECONDS = 5
_READING_SECONDS = 30
# at least two letters, because a single one is a drive of Windows
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_COLLAPSED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
# lone surrogates and NUL, except the surrogates in which Python keeps bytes of file names in other encodings
_NO_NAME = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
# names that stores use for the size of an object and for properties that change with it
_STAMPS = ("size", "ETag", "etag", "LastModified", "Last-Modified", "last_modified", "updated", "mtime", "created")


def is_address(words: object) -> bool:
    """Whether text is an address and not a path.

    Parameters
    ----------
    words : object
        Text that a user typed, or any other object.

    Returns
    -------
    bool
        True for text such as "s3://bucket/slide.ome.zarr". It is not checked whether the address exists.
    """
    return isinstance(words, str) and _ADDRESS.match(words) is not None


def as_location(words: PlaceLike) -> Location:
    """Path or address that a user typed.

    Parameters
    ----------
    words : str, os.PathLike or UPath
        A path, or an address; ``file://`` means a path on this machine.

    Returns
    -------
    pathlib.Path or UPath
        The path as typed, or the address; neither need exist.

    Raises
    ------
    SlideError
        For an address of an unknown kind, or if a package for it is missing.
    """
    if isinstance(words, str) and (found := _ADDRESS.match(words)):
        return _address(words, found[1].lower())
    if isinstance(words, Path | str) or not hasattr(words, "storage_options"):
        return Path(words)
    return cast("UPath", words)


def local_path(words: PlaceLike) -> Path:
    """Path that a user typed, which has to be on this machine.

    Parameters
    ----------
    words : str, os.PathLike or UPath
        Path or address, as for `as_location`.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    SlideError
        For an address.
    """
    place = as_location(words)
    if isinstance(place, Path):
        return place
    msg = f"{place} is an address of object storage, expected a file or folder of this machine: use a local copy."
    raise SlideError(msg)


def user_path(words: str | os.PathLike[str], folder: Path | None = None) -> Path:
    """Path on this machine that a user typed, with "~" replaced by the home folder."""
    if _NO_NAME.search(str(words)):
        msg = f"{ascii(str(words))[:80]} is no path, expected characters that are allowed in file names: check it."
        raise SlideError(msg)
    path = Path(words)
    first = path.parts[0] if path.parts else ""
    if first != "~" and os.path.lexists(Path(folder or "", first)):
        return path
    if os.name != "nt" and _OF_WINDOWS.match(str(words)):
        msg = f"{path} is a Windows path, expected a path of this machine: give the path that the file has here."
        raise SlideError(msg)
    if not first.startswith("~"):
        return path
    home = Path(os.path.expanduser(first))  # noqa: PTH111 (which raises where there is none)
    if home.is_dir():
        return home.joinpath(*path.parts[1:])
    if len(path.parts) == 1 and first != "~":
        return path
    raise SlideError(f"{path} is in the home of a user who has none on this machine: give the full path.")


def is_collapsed_address(path: Path) -> bool:
    """Whether a path was an address, in which `pathlib` replaced the two slashes by one."""
    return not path.is_absolute() and bool(path.parts) and _COLLAPSED.fullmatch(path.parts[0]) is not None


def check_writable(place: Location) -> None:
    """Refuse an address that can only be read."""
    if not isinstance(place, Path) and place.protocol in {"http", "https"}:
        msg = (
            f"{place} is a web address, which can only be read: name a folder, or an address such as s3://bucket/name."
        )
        raise SlideError(msg)


def is_file(place: Location) -> bool:
    """Whether a file exists, or an object that may be read."""
    return place.is_file() if isinstance(place, Path) else fetched(place) is not None


def holds_zarr(place: Location) -> bool:
    """Whether a folder contains Zarr metadata."""
    return any(is_file(place / name) for name in ZARR_METADATA)


def is_there(place: Location) -> bool:
    """Whether a path exists, or an address is that of a Zarr group or array."""
    return place.exists() if isinstance(place, Path) else holds_zarr(place)


def fetched(place: UPath) -> bytes | None:
    """Bytes of an object; None if it does not exist."""
    content: bytes | None = _asked(place, "cat_file")
    return content


def stamp(place: UPath) -> tuple[str, ...]:
    """Properties that distinguish an object from an earlier one with its name, without reading it."""
    facts = _asked(place, "info") or {}
    return tuple(str(facts[name]) for name in _STAMPS if name in facts)


def zarr_store(place: Location) -> Path | FsspecStore:
    """Path or store that zarr can open."""
    if isinstance(place, Path):
        return place
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(str(place), storage_options=dict(place.storage_options))


@contextmanager
def address_errors(place: Location) -> Iterator[None]:
    """Turn errors of networks and stores into a `SlideError` of one sentence; errors of local files are not changed."""
    try:
        yield
    except Exception as error:
        # errors of this package have a clear message already
        if isinstance(place, Path) or type(error).__module__.startswith("napari_hrpn."):
            raise
        message = short_message(error)
        msg = f"{place} cannot be reached ({message}): check the address, the network and your credentials."
        raise SlideError(msg) from error


def _address(words: str, protocol: str) -> Location:
    if protocol in {"file", "local"}:
        parts = urlsplit(words)
        # a share of another machine on Windows
        host = "" if parts.netloc in {"", "localhost"} else f"//{parts.netloc}"
        return Path(url2pathname(f"{host}{parts.path}"))
    try:
        from upath import UPath
    except ImportError as error:
        msg = f'{words} is an address of object storage, which needs more packages: pip install "napari-hrpn[remote]".'
        raise SlideError(msg) from error
    try:
        if not (where := words.partition("://")[2].strip("/")):
            raise ValueError("it ends where the name should be")
        place: UPath = UPath(f"{protocol}://{where}", **_options(protocol))
        # this access raises an error if the package for this kind of store is missing
        place.fs  # noqa: B018
    except ImportError as error:
        msg = f"{words} needs a package that is not installed ({error}): install it to use addresses of {protocol}://."
        raise SlideError(msg) from error
    except Exception as error:
        msg = f"{words} is not a valid address ({error}), expected one such as s3://bucket/slide.ome.zarr: check it."
        raise SlideError(msg) from error
    return place


def _options(protocol: str) -> dict[str, Any]:
    """Time limits, and no cached listings of stores; settings of the user have priority."""
    from fsspec.config import conf

    options: dict[str, Any] = {}
    if protocol in {"s3", "s3a"}:
        times = {"connect_timeout": _CONNECTING_SECONDS, "read_timeout": _READING_SECONDS}
        # with concurrent requests, s3fs would request the size of every object before reading it
        options = {
            "config_kwargs": {**times, "retries": {"max_attempts": 1}},
            "use_listings_cache": False,
            "max_concurrency": 1,
        }
    elif protocol in {"http", "https"}:
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=_CONNECTING_SECONDS, sock_read=_READING_SECONDS)
        options = {"client_kwargs": {"timeout": timeout}}
    return {name: value for name, value in options.items() if name not in conf.get(protocol, {})}


def _asked(place: UPath, question: str) -> Any:  # noqa: ANN401 (whatever the store answers)
    """Answer of a store about an object; None if there is no such object."""
    with address_errors(place.parent):
        try:
            return getattr(place.fs, question)(place.path)
        except Exception as error:
            if not _is_absence(error):
                raise
            return None


def _is_absence(error: Exception) -> bool:
    """Whether an object is absent; stores that do not list their content answer "forbidden" for absent objects."""
    absent = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError | PermissionError)
    return absent or getattr(error, "status", None) in {403, 404}
