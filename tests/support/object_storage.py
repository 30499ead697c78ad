"""Object storage for tests: in memory of this process, or in files that are reached as if they were objects."""

from pathlib import Path

from upath import UPath

from napari_hrpn.slides import as_location


def uploaded(folder: Path, address: str) -> UPath:
    """A copy of a folder's files as objects."""
    place = as_location(address)
    assert isinstance(place, UPath)
    for file in folder.rglob("*"):
        if file.is_file():
            place.fs.pipe_file(f"{place.path}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return place


def objects(place: UPath) -> dict[str, bytes]:
    """Bytes of the objects below an address, by name."""
    return {name.removeprefix(f"{place.path}/"): place.fs.cat_file(name) for name in place.fs.find(place.path)}


def address_of(path: Path) -> UPath:
    """A path as an address, which other processes can reach too."""
    return UPath(path.as_uri(), auto_mkdir=True)
