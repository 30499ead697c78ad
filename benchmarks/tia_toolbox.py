"""TIAToolbox as a program of `predict.py --tia-toolbox`, in an environment of its own: it does not go with torch 2.13.

    python -m venv tia && tia/bin/pip install tiatoolbox==2.1.3 monai .
    tia/bin/python benchmarks/predict.py --tia-toolbox --repeats 3    # about six minutes on two cores

It reads photographs: it gets the three channels as red, green and blue of a tiled TIFF of 8 bits, and looks at windows
of 512 px, as many at once as MONAI in `predict.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

WINDOW, BATCH = 512, 4


def make_photograph(slide: Path) -> Path:
    """Write the finest level of a slide as a TIFF, once."""
    import tifffile

    from napari_hrpn.slides import open_slide

    path = slide.with_suffix(".tif")
    if not path.exists():
        pixels = np.moveaxis(open_slide(slide).levels[0].compute(), 0, -1)
        assert pixels.shape[-1] == 3
        assert pixels.max() <= 255
        pixels, metadata = pixels.astype(np.uint8), {"axes": "YXS", "PhysicalSizeX": 0.2744, "PhysicalSizeY": 0.2744}
        tifffile.imwrite(path, pixels, ome=True, tile=(512, 512), photometric="rgb", metadata=metadata)
    return path


def run_tia_toolbox(slide: Path, checkpoint: Path, output: Path, overlap: str) -> dict[str, float]:
    """Segment as TIAToolbox's documentation shows, without looking for tissue, and keep what the network says."""
    import torch
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
    from tiatoolbox.models.models_abc import ModelABC

    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.slides import open_slide

    class Model(ModelABC):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = load_checkpoint(checkpoint).network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            predicted: torch.Tensor = self.network(x)
            return predicted

        @staticmethod
        def infer_batch(model: torch.nn.Module, batch_data: torch.Tensor, *, device: str) -> np.ndarray:
            with torch.inference_mode():
                stains = batch_data.to(device, torch.float32).permute(0, 3, 1, 2)[:, :2] / 100
                predicted: np.ndarray = model(stains).permute(0, 2, 3, 1).numpy()
            return predicted

    step = int(WINDOW * (1 - float(overlap)))
    whole = [{"units": "baseline", "resolution": 1.0}]
    windows = IOSegmentorConfig(
        input_resolutions=whole,
        output_resolutions=whole,
        save_resolution=whole[0],
        patch_input_shape=(WINDOW, WINDOW),
        patch_output_shape=(WINDOW, WINDOW),
        stride_shape=(step, step),
    )
    engine = SemanticSegmentor(model=Model(), batch_size=BATCH, num_workers=0, device="cpu", verbose=False)
    engine.run(
        [make_photograph(slide)],
        patch_mode=False,
        ioconfig=windows,
        auto_get_mask=False,
        save_dir=output,
        output_type="zarr",
        return_probabilities=True,
        overwrite=True,
    )
    side = open_slide(slide).shape[0]
    steps = 1 + -(-(side - WINDOW) // step)
    return {"run_per_kept": (steps * WINDOW) ** 2 / side**2}
