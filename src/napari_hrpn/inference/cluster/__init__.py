"""Prediction and evaluation on many processes with dask.distributed, the only room that imports it."""

from napari_hrpn.inference.cluster.connection import cluster_workers, local_workers
from napari_hrpn.inference.cluster.predict_slides import EndedSlide, SlideRequest, TileOfMany, predict_slides
from napari_hrpn.inference.cluster.task_pool import count_on_workers

__all__ = [
    "EndedSlide",
    "SlideRequest",
    "TileOfMany",
    "cluster_workers",
    "count_on_workers",
    "local_workers",
    "predict_slides",
]
