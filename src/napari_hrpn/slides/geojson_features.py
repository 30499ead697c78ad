"""Features of a GeoJSON file one by one, and what their properties say in the dialects of QuPath, Fiji and geopandas.

A feature is forgotten once the next one is asked for, so a large file takes hardly more memory than its text.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.plain_text import printable
from napari_hrpn.slides.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

_LARGEST_BYTES = 4 * 2**30
_LONGEST_CLASS = 10_000
_EXCLUDING = re.compile(r"(exclude[ds]?|excluding|exclusions?|ignored?|holes?)[\s_.:#-]*\d*\*?", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\n\r]*")
# whole numbers may have more digits than Python makes an int of
_DECODER = json.JSONDecoder(parse_int=float)


def features_of(path: Path) -> Iterator[dict[str, Any]]:
    """Read the features of a file."""
    text = _text(path)
    for element in _elements(text):
        yield from _flat(element, path.name)


def class_names(properties: dict[str, Any]) -> list[str]:
    """Names of the class of a feature, the most general one first; empty where it has none."""
    found = properties.get("classification")
    return _names(properties.get("classification.name") if found is None else found)


def is_excluding(name: str) -> bool:
    """Whether a name is a word for what is to be left out, with or without a number."""
    return bool(_EXCLUDING.fullmatch(name.strip()))


def measurements_of(found: object) -> dict[str, float]:
    """Numbers that belong to a feature."""
    if isinstance(found, list):
        found = {
            one.get("name"): one.get("value") for one in found if isinstance(one, dict) and text_of(one.get("name"))
        }
    pairs = found.items() if isinstance(found, dict) else ()
    return {printable(name): value for name, value in pairs if isinstance(value, float)}


def text_of(value: object) -> str:
    """A text that can be printed; empty for what is none."""
    return printable(value) if isinstance(value, str) else ""


def _names(found: object) -> list[str]:
    if isinstance(found, dict):
        names = found.get("names")
        # derived classes of QuPath have several names
        own = [found.get("name"), *(names if isinstance(names, list) else [])]
        return list(dict.fromkeys(filter(None, map(text_of, own))))
    if isinstance(found, list):
        return [name for one in found for name in _names(one)]
    text = text_of(found)
    if text[:1] in ("{", "["):
        return _names(_literal(text))
    return [] if text in ("", "null", "None", "nan") else [text]


def _literal(text: str) -> object:
    """What a text says that a dict or list was made of; None where it says nothing."""
    for read in (json.loads, ast.literal_eval):
        try:
            found: object = read(text[:_LONGEST_CLASS])
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return found
    return None


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        # a pipe would be waited for, and a device may have no end
        raise SlideError(f"{path} is no file, expected annotations as GeoJSON: check the path.")
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                data = file.read(_LARGEST_BYTES)
    except FileNotFoundError as error:
        raise SlideError(f"There is no file {path}, expected annotations as GeoJSON: check the path.") from error
    except (OSError, EOFError, zlib.error) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise SlideError(f"{path.name} cannot be read ({words}), expected annotations as GeoJSON.") from error
    return data.decode(json.detect_encoding(data))


def _elements(text: str) -> Iterator[object]:
    """Members of the list at the top or under "features", else all that the text holds, one by one."""
    start = _past_space(text, 0)
    if text[start : start + 1] == "[":
        end = yield from _members(text, start)
    elif text[start : start + 1] == "{":
        end = yield from _object(text, start)
    else:
        element, end = _DECODER.raw_decode(text, start)
        yield element
    end = _past_space(text, end)
    if end < len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _members(text: str, start: int) -> Generator[object, None, int]:
    """Members of the list that begins at a character; returns where it ends."""
    place = _past_space(text, start + 1)
    if text[place : place + 1] == "]":
        return place + 1
    while True:
        member, place = _DECODER.raw_decode(text, place)
        yield member
        place, is_last = _past_comma(text, place, "]")
        if is_last:
            return place


def _object(text: str, start: int) -> Generator[object, None, int]:
    """Features of the object that begins at a character, or the object itself where it has none; returns its end."""
    rest: dict[str, object] = {}
    place, is_last = _past_space(text, start + 1), False
    is_collection = False
    if text[place : place + 1] == "}":
        place, is_last = place + 1, True
    while not is_last:
        key, place = _DECODER.raw_decode(text, place)
        place = _past_space(text, place)
        if not isinstance(key, str) or text[place : place + 1] != ":":
            raise json.JSONDecodeError("Expecting a property", text, place)
        place = _past_space(text, place + 1)
        if key == "features" and text[place : place + 1] == "[":
            place, is_collection = (yield from _members(text, place)), True
        else:
            rest[key], place = _DECODER.raw_decode(text, place)
        place, is_last = _past_comma(text, place, "}")
    if not is_collection:
        yield rest
    return place


def _past_comma(text: str, place: int, closing: str) -> tuple[int, bool]:
    """Where the next member begins, or where all of them end and that they do."""
    place = _past_space(text, place)
    mark = text[place : place + 1]
    if mark not in (",", closing) or not mark:
        raise json.JSONDecodeError(f"Expecting ',' or '{closing}'", text, place)
    return (place + 1, True) if mark == closing else (_past_space(text, place + 1), False)


def _past_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _flat(element: object, name: str) -> Iterator[dict[str, Any]]:
    """The features of a collection within a collection, or a feature itself."""
    if isinstance(element, dict) and "features" not in element:
        yield element
        return
    found = element["features"] if isinstance(element, dict) else None
    if not isinstance(found, list):
        msg = f"{name} holds no list of annotations, expected a GeoJSON FeatureCollection: export it again as GeoJSON."
        raise SlideError(msg)
    for feature in found:
        yield from _flat(feature, name)
