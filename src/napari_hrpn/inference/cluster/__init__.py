"""Tiles and blocks of slides on many processes; only here is dask.distributed known, and only once it is asked for."""

from napari_hrpn.inference.cluster.connection import cluster_workers, local_workers
from napari_hrpn.inference.cluster.distributed_blocks import looks_on_workers
from napari_hrpn.inference.cluster.predict_slides import predict_slides
from napari_hrpn.inference.cluster.reports import EndedSlide, SlideRequest, TileOfMany

__all__ = [
    "EndedSlide",
    "SlideRequest",
    "TileOfMany",
    "cluster_workers",
    "local_workers",
    "looks_on_workers",
    "predict_slides",
]
