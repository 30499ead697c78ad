"""Writers of small slides of scanners: MRXS of 3DHISTECH and VSI of Olympus, each with a folder beside it."""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

_SLIDE_ID = "0123456789ABCDEF0123456789ABCDEF"
_TILE = 64


def write_mrxs(path: Path, pixels: np.ndarray, names: tuple[str, ...], *, overlap: int = 0, levels: int = 2,
               bits: int = 8, filters: bool = True) -> Path:  # fmt: skip
    """Write a fluorescence slide of at most three channels, whose photographs overlap.

    `pixels` (c, y, x) are the photographs beside each other, 64 px a side.
    """
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    path.write_bytes(b"picture")
    _, rows, columns = (side // _TILE for side in pixels.shape)
    data, records = bytearray(), []
    for level in range(levels):
        step = 2**level
        records.append([])
        for row, column in np.ndindex(rows // step, columns // step):
            encoded = _png(pixels[:, ::step, ::step], row, column)
            records[-1].append((row * step * columns + column * step, len(data), len(encoded), 0))
            data += encoded
    (folder / "Data0000.dat").write_bytes(bytes(data))
    (folder / "Index.dat").write_bytes(_index(records))
    general = {"SLIDE_ID": _SLIDE_ID, "IMAGENUMBER_X": columns, "IMAGENUMBER_Y": rows, "OBJECTIVE_MAGNIFICATION": 20,
               "CameraImageDivisionsPerSide": 1, "VIMSLIDE_SLIDE_BITDEPTH": bits,
               "SLIDE_TYPE": "SLIDE_TYPE_FLUORESCENCE" if filters else "SLIDE_TYPE_BRIGHTFIELD"}  # fmt: skip
    hierarchy = {"INDEXFILE": "Index.dat", "HIER_COUNT": 1 + filters, "HIER_0_NAME": "Slide zoom level",
                 "HIER_0_COUNT": levels}  # fmt: skip
    sections = {"GENERAL": general, "HIERARCHICAL": hierarchy}
    for level in range(levels):
        hierarchy[f"HIER_0_VAL_{level}_SECTION"] = f"LEVEL_{level}"
        size = {f"MICROMETER_PER_PIXEL_{axis}": um * 2**level for axis, um in (("X", 0.25), ("Y", 0.5))}
        sections[f"LEVEL_{level}"] = {
            **{f"OVERLAP_{axis}": overlap / 2**level for axis in "XY"}, **size, "IMAGE_FORMAT": "PNG",
            "IMAGE_FILL_COLOR_BGR": 0, "DIGITIZER_WIDTH": _TILE, "DIGITIZER_HEIGHT": _TILE,
            "IMAGE_CONCAT_FACTOR": min(level, 1)}  # fmt: skip
    if filters:
        hierarchy |= {"HIER_1_NAME": "Slide filter level", "HIER_1_COUNT": len(names)}
    for number, name in enumerate(names if filters else ()):
        hierarchy[f"HIER_1_VAL_{number}_SECTION"] = f"FILTER_{number}"
        sections[f"FILTER_{number}"] = {"FILTER_NAME": name, "STORING_CHANNEL_NUMBER": number,
                                        "DATA_IN_THIS_FILTER_LEVEL": "FilterLevel_0"}  # fmt: skip
    sections["DATAFILE"] = {"FILE_COUNT": 1, "FILE_0": "Data0000.dat"}
    lines = [f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in section.items())
             for name, section in sections.items()]  # fmt: skip
    (folder / "Slidedat.ini").write_text("\n".join(lines), encoding="utf-8-sig")
    return path


def _png(pixels: np.ndarray, row: int, column: int) -> bytes:
    """A photograph, whose red, green and blue are the channels."""
    tile = pixels[:, row * _TILE : (row + 1) * _TILE, column * _TILE : (column + 1) * _TILE]
    colours = np.zeros((_TILE, _TILE, 3), pixels.dtype)
    colours[..., : len(tile)] = np.moveaxis(tile, 0, -1)
    return imagecodecs.png_encode(colours)


def _index(levels: list[list[tuple[int, ...]]]) -> bytes:
    header = b"01.02" + _SLIDE_ID.encode()
    root = len(header) + 8
    # a place for each level in the hierarchy of levels, and in that of filters
    pointers, pages = [0] * (2 * len(levels)), bytearray()
    for level, records in enumerate(levels):
        here = root + 4 * len(pointers) + len(pages)
        pointers[level] = here
        pages += struct.pack("<4i", 0, here + 8, len(records), 0)
        pages += b"".join(struct.pack("<4i", *record) for record in records)
    return header + struct.pack("<2i", root, 0) + struct.pack(f"<{len(pointers)}i", *pointers) + bytes(pages)


def write_vsi(path: Path, pixels: np.ndarray, *, levels: int = 2, stack: str = "stack10001") -> Path:
    """Write a fluorescence slide (c, y, x) of 16 bits, or add another image to it."""
    file = path.with_name(f"_{path.stem}_") / stack / "frame_t.ets"
    file.parent.mkdir(parents=True)
    tifffile.imwrite(path, np.zeros((30, 40), np.uint8))
    start, axes, tiles, records = 64 + 232, 5, bytearray(), []
    for level in range(levels):
        reduced = pixels[:, :: 2**level, :: 2**level]
        rows, columns = (-(-side // _TILE) for side in reduced.shape[1:])
        padded = np.pad(reduced, [(0, 0), *((0, -side % _TILE) for side in reduced.shape[1:])])
        for channel, row, column in np.ndindex(len(pixels), rows, columns):
            tile = padded[channel, row * _TILE : (row + 1) * _TILE, column * _TILE : (column + 1) * _TILE]
            encoded = imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k", reversible=True)
            position = column, row, channel, 0, level
            records.append(struct.pack("<6IQII", axes, *position, start + len(tiles), len(encoded), 0))
            tiles += encoded
    outer = struct.pack("<4sIIIQIIQI", b"SIS\0", 64, 2, axes, 64, 228, 0, start + len(tiles), len(records))
    kind, jpeg2000 = {"uint8": 2, "uint16": 4}[pixels.dtype.name], 3
    inner = struct.pack("<4s9I", b"ETS\0", 0x30003, kind, 1, 4, jpeg2000, 90, _TILE, _TILE, 1)
    file.write_bytes(outer.ljust(64, b"\0") + inner.ljust(232, b"\0") + bytes(tiles) + b"".join(records))
    return path
