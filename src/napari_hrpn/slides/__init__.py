"""Whole-slide images and their files; `open_slide` opens all formats."""

from napari_hrpn.slides.channel_roles import ChannelRoles, find_channel, guess_roles
from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.fingerprint import slide_fingerprint, slide_identity
from napari_hrpn.slides.formats import list_series, open_slide, slide_name
from napari_hrpn.slides.geojson import read_geojson
from napari_hrpn.slides.label_images import label_images
from napari_hrpn.slides.lazy_pixels import ChunkCache
from napari_hrpn.slides.location import Location, as_location, is_address, local_path
from napari_hrpn.slides.metadata import contrast_limits, multiscales_metadata
from napari_hrpn.slides.predictions import (
    FinishedTiles,
    colour_in_folder,
    distinct_colours,
    finished_tiles,
    in_all,
    prediction_colours,
    prediction_record,
)
from napari_hrpn.slides.pyramid import coarser_levels, glance, halve, known_pixels, with_known_pixels
from napari_hrpn.slides.pyramid_cache import (
    PyramidCache,
    clear_pyramid_cache,
    open_cache,
    pyramid_cache_bytes,
    pyramid_cache_folder,
)
from napari_hrpn.slides.region import Annotation, LabelRegion, Region, included, taken_away
from napari_hrpn.slides.region_files import label_regions, read_regions, warn_of_parts_beyond
from napari_hrpn.slides.region_mask import RegionMask, predicted_part, region_mask
from napari_hrpn.slides.slide import Slide
from napari_hrpn.slides.slide_builder import SeriesInfo
from napari_hrpn.slides.with_predictions import with_predictions
from napari_hrpn.slides.writers.geojson_writer import write_geojson
from napari_hrpn.slides.writers.ome_tiff_writer import write_ome_tiff
from napari_hrpn.slides.writers.ome_zarr_writer import write_ome_zarr

__all__ = [
    "Annotation",
    "ChannelRoles",
    "ChunkCache",
    "FinishedTiles",
    "LabelRegion",
    "Location",
    "PyramidCache",
    "Region",
    "RegionMask",
    "SeriesInfo",
    "Slide",
    "SlideError",
    "SlideWarning",
    "as_location",
    "clear_pyramid_cache",
    "coarser_levels",
    "colour_in_folder",
    "contrast_limits",
    "distinct_colours",
    "find_channel",
    "finished_tiles",
    "glance",
    "guess_roles",
    "halve",
    "in_all",
    "included",
    "is_address",
    "known_pixels",
    "label_images",
    "label_regions",
    "list_series",
    "local_path",
    "multiscales_metadata",
    "open_cache",
    "open_slide",
    "predicted_part",
    "prediction_colours",
    "prediction_record",
    "pyramid_cache_bytes",
    "pyramid_cache_folder",
    "read_geojson",
    "read_regions",
    "region_mask",
    "slide_fingerprint",
    "slide_identity",
    "slide_name",
    "taken_away",
    "warn_of_parts_beyond",
    "with_known_pixels",
    "with_predictions",
    "write_geojson",
    "write_ome_tiff",
    "write_ome_zarr",
]
