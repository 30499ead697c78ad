"""Paths of this machine as users type them, and addresses of object storage such as s3://bucket/name.

The rule: what is a `pathlib.Path` is on this machine; what an address needs beyond that is here.
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
# one letter would be a drive of Windows
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_COLLAPSED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
# half characters, but for those in which Python keeps the bytes of names in other encodings
_NO_NAME = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
# what the stores call the size of an object and the facts that change with it
_STAMPS = ("size", "ETag", "etag", "LastModified", "Last-Modified", "last_modified", "updated", "mtime", "created")


def is_address(words: object) -> bool:
    """Whether words are an address rather than a path.

    Parameters
    ----------
    words : object
        What a user typed, or anything else.

    Returns
    -------
    bool
        True for words such as "s3://bucket/slide.ome.zarr". Nothing is looked up.
    """
    return isinstance(words, str) and _ADDRESS.match(words) is not None


def as_location(words: PlaceLike) -> Location:
    """Understand what a user typed for a place.

    Parameters
    ----------
    words : str, os.PathLike or UPath
        A path, or an address; ``file://`` means a path of this machine.

    Returns
    -------
    pathlib.Path or UPath
        A path as it was typed, or an address that need not lead anywhere.

    Raises
    ------
    SlideError
        For an address of an unknown kind, or one for which a package is missing.
    """
    if isinstance(words, str) and (found := _ADDRESS.match(words)):
        return _address(words, found[1].lower())
    if isinstance(words, Path | str) or not hasattr(words, "storage_options"):
        return Path(words)
    return cast("UPath", words)


def local_path(words: PlaceLike) -> Path:
    """Understand what a user typed for a place where only this machine will do.

    Parameters
    ----------
    words : str, os.PathLike or UPath
        As for `as_location`.

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
    msg = f"{place} is an address of object storage, expected a file or folder of this machine: use a copy here."
    raise SlideError(msg)


def user_path(words: str | os.PathLike[str], folder: Path | None = None) -> Path:
    """Understand what a user typed for a path of this machine."""
    if _NO_NAME.search(str(words)):
        msg = f"{ascii(str(words))[:80]} is no path, expected letters that the name of a file may have: check it."
        raise SlideError(msg)
    path = Path(words)
    first = path.parts[0] if path.parts else ""
    if first != "~" and os.path.lexists(Path(folder or "", first)):
        return path
    if os.name != "nt" and _OF_WINDOWS.match(str(words)):
        msg = f"{path} is a path of Windows, which this machine is not: give the path that it has here."
        raise SlideError(msg)
    if not first.startswith("~"):
        return path
    home = Path(os.path.expanduser(first))  # noqa: PTH111 (which raises where there is none)
    if home.is_dir():
        return home.joinpath(*path.parts[1:])
    if len(path.parts) == 1 and first != "~":
        return path
    msg = f"{path} is in the home of a user who has none on this machine: write the whole path."
    raise SlideError(msg)


def is_collapsed_address(path: Path) -> bool:
    """Whether a path was once an address, of whose two slashes `pathlib` made one."""
    return not path.is_absolute() and bool(path.parts) and _COLLAPSED.fullmatch(path.parts[0]) is not None


def check_writable(place: Location) -> None:
    """Refuse an address at which nothing can be written."""
    if not isinstance(place, Path) and place.protocol in {"http", "https"}:
        msg = (
            f"{place} is a web address, which can only be read: name a folder, or an address such as s3://bucket/name."
        )
        raise SlideError(msg)


def is_file(place: Location) -> bool:
    """Whether there is a file, or an object that may be read."""
    return place.is_file() if isinstance(place, Path) else fetched(place) is not None


def holds_zarr(place: Location) -> bool:
    """Whether a folder has metadata of Zarr in it."""
    return any(is_file(place / name) for name in ZARR_METADATA)


def is_there(place: Location) -> bool:
    """Whether a path exists, or an address leads to a group or an array of Zarr."""
    return place.exists() if isinstance(place, Path) else holds_zarr(place)


def fetched(place: UPath) -> bytes | None:
    """Bytes of an object."""
    content: bytes | None = _asked(place, "cat_file")
    return content


def stamp(place: UPath) -> tuple[str, ...]:
    """What tells an object from an earlier one of its name, without reading it."""
    facts = _asked(place, "info") or {}
    return tuple(str(facts[name]) for name in _STAMPS if name in facts)


def zarr_store(place: Location) -> Path | FsspecStore:
    """What zarr opens for a place."""
    if isinstance(place, Path):
        return place
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(str(place), storage_options=dict(place.storage_options))


@contextmanager
def address_errors(place: Location) -> Iterator[None]:
    """Turn what networks and stores raise into one sentence; errors of this machine's files pass."""
    try:
        yield
    except Exception as error:
        # what is our own has its sentence
        if isinstance(place, Path) or type(error).__module__.startswith("napari_hrpn."):
            raise
        said = short_message(error)
        msg = f"{place} cannot be reached ({said}): check the address, the network and your credentials."
        raise SlideError(msg) from error


def _address(words: str, protocol: str) -> Location:
    if protocol in {"file", "local"}:
        return Path(url2pathname(urlsplit(words).path))
    try:
        from upath import UPath
    except ImportError as error:
        msg = f'{words} is an address of object storage, which takes more packages: pip install "napari-hrpn[remote]".'
        raise SlideError(msg) from error
    try:
        if not (where := words.partition("://")[2].strip("/")):
            raise ValueError("it ends where the name should be")
        place: UPath = UPath(f"{protocol}://{where}", **_options(protocol))
        # only now it shows whether the package for this kind of store is there
        place.fs  # noqa: B018
    except ImportError as error:
        msg = f"{words} takes a package that is not there ({error}): install it, for addresses of {protocol}://."
        raise SlideError(msg) from error
    except Exception as error:
        msg = f"{words} is no address that can be used ({error}), expected one such as s3://bucket/slide.ome.zarr."
        raise SlideError(msg) from error
    return place


def _options(protocol: str) -> dict[str, Any]:
    """How long to wait, and to look at stores themselves, not at what they held before; the user's own settings win."""
    from fsspec.config import conf

    options: dict[str, Any] = {}
    if protocol in {"s3", "s3a"}:
        times = {"connect_timeout": _CONNECTING_SECONDS, "read_timeout": _READING_SECONDS}
        # with more than one piece at once, it would ask for the size of every object before it reads it
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
    """What a store says of an object; None where there is none."""
    with address_errors(place.parent):
        try:
            return getattr(place.fs, question)(place.path)
        except Exception as error:
            if not _is_absence(error):
                raise
            return None


def _is_absence(error: Exception) -> bool:
    """Whether an object is not there; stores say that it is forbidden where they do not tell what they hold."""
    absent = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError | PermissionError)
    return absent or getattr(error, "status", None) in {403, 404}
