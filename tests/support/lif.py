"""Writer of small Leica LIF files: an XML header in UTF-16, then the pixels of each image in a block of their own."""

import struct
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "λ": 5, "M": 10}


@dataclass
class LIFImage:
    """Pixels with one letter for each axis, as they are stored; C and S (colour samples) are channels."""

    name: str
    pixels: np.ndarray
    axes: str
    dyes: tuple[str, ...] = ()  # names of dyes in the properties of the channels
    cubes: tuple[str, ...] = ()  # names of cubes of filters in the settings of a camera
    tags: tuple[int, ...] = ()  # 3, 2, 1 for samples of colour in the order blue, green, red
    luts: tuple[str, ...] = ("Blue", "Green", "Red", "Gray")
    pixel_um: tuple[float, float] | None = (0.5, 0.25)
    bits: int = 0  # bits in use, if fewer than stored


def write_lif(path: Path, *images: LIFImage, version: int = 2, lost: tuple[int, ...] = ()) -> Path:
    """Write a LIF; blocks of `lost` images are described and not stored."""
    elements = "".join(_element(number, image) for number, image in enumerate(images))
    header = (
        f'<LMSDataContainerHeader Version="{version}"><Element Name="project"><Data><Experiment/></Data>'
        f"<Children>{elements}</Children></Element></LMSDataContainerHeader>"
    )
    with path.open("wb") as file:
        file.write(_chunk(b"", header))
        for number, image in enumerate(images):
            if number not in lost:
                data = image.pixels.tobytes()
                length = struct.pack("<BQ" if version == 2 else "<BI", 0x2A, len(data))
                file.write(_chunk(length, f"MemBlock_{number}") + data)
    return path


def _chunk(before: bytes, text: str) -> bytes:
    body = before + struct.pack("<BI", 0x2A, len(text)) + text.encode("utf-16-le")
    return struct.pack("<II", 0x70, len(body)) + body


def _element(number: int, image: LIFImage) -> str:
    pixels = image.pixels
    steps = dict(zip(image.axes, pixels.strides, strict=True))
    dimensions = "".join(
        _dimension(image, axis, length, steps[axis])
        for axis, length in zip(image.axes, pixels.shape, strict=True)
        if axis in DIMENSIONS
    )
    axis = next((axis for axis in "CS" if axis in image.axes), None)
    count = 1 if axis is None else pixels.shape[image.axes.index(axis)]
    channels = "".join(_channel(image, channel, channel * steps.get(axis, 0)) for channel in range(count))
    cubes = "".join(f"<WideFieldChannelInfo FluoCubeName={quoteattr(cube)}/>" for cube in image.cubes)
    settings = (
        '<Attachment Name="HardwareSetting"><ATLCameraSettingDefinition><WideFieldChannelConfigurator>'
        f"{cubes}</WideFieldChannelConfigurator></ATLCameraSettingDefinition></Attachment>"
    )
    return (
        f"<Element Name={quoteattr(image.name)}><Data><Image><ImageDescription><Channels>{channels}</Channels>"
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription>{settings if cubes else ''}</Image></Data>"
        f'<Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
    )


def _dimension(image: LIFImage, axis: str, length: int, step: int) -> str:
    spacing = dict(zip("YX", image.pixel_um or (0, 0), strict=True)).get(axis, 1.0)
    return (
        f'<DimensionDescription DimID="{DIMENSIONS[axis]}" NumberOfElements="{length}" Origin="0" '
        f'Length="{spacing * 1e-6 * (length - 1)}" Unit="m" BitInc="0" BytesInc="{step}"/>'
    )


def _channel(image: LIFImage, channel: int, offset: int) -> str:
    dtype = image.pixels.dtype
    tag = image.tags[channel] if image.tags else 0
    name = image.dyes[channel] if image.dyes else ""
    dye = f"<ChannelProperty><Key>DyeName</Key><Value>{name}</Value></ChannelProperty>" if name else ""
    return (
        f'<ChannelDescription DataType="{int(dtype.kind == "f")}" ChannelTag="{tag}" '
        f'Resolution="{image.bits or 8 * dtype.itemsize}" NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" '
        f'LUTName="{image.luts[channel % len(image.luts)]}" IsLUTInverted="0" BytesInc="{offset}" BitInc="0">{dye}'
        "</ChannelDescription>"
    )
