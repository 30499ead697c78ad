"""Model packages run by bioimageio.core: python bioimageio_core.py FOLDER..., each with package.zip and tile.npy.

In a process of its own, since it makes torch and numpy deterministic for good. Writes WEIGHTS.npy, what the weights of
that format predict of the tile, and again.zip, the package as bioimageio.spec packs it.
"""

import gc
import sys
from pathlib import Path

import numpy as np

FORMATS = ("torchscript", "pytorch_state_dict")


def main(folder: Path) -> None:
    from bioimageio.core import (
        create_prediction_pipeline,
        load_model_description,
        test_description,
    )
    from bioimageio.core.digest_spec import create_sample_for_model
    from bioimageio.spec import save_bioimageio_package

    # the many collections of bioimageio.core need not look at all that was imported
    gc.freeze()
    model = load_model_description(folder / "package.zip")
    for weights in FORMATS:
        summary = test_description(model, weight_format=weights)
        if summary.status != "passed":
            sys.exit(summary.format())
        with create_prediction_pipeline(model, weight_format=weights) as pipeline:
            sample = create_sample_for_model(model, inputs={"input": np.load(folder / "tile.npy")[None]})
            options = {"skip_input_padding": True, "skip_output_cropping": True}
            predicted = pipeline.predict_sample_without_blocking(sample, **options).members["output"].data
        np.save(folder / f"{weights}.npy", np.asarray(predicted)[0, 0])
    save_bioimageio_package(model, output_path=folder / "again.zip")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(Path(name))
