"""Run as a script: loads Keras models without vflc and writes what they give for some inputs.

    python loads.py MODEL.keras IN.npz OUT.npz …

Names in the archives have a number and a colon before them. vflc cannot be imported here: a model
that needed it would not load.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import Any


def main(*arguments: str) -> None:
    """Runs each model on all its rows at once."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.filterwarnings("ignore", "Protobuf gencode version", UserWarning)
    here = Path(__file__).resolve().parent
    sys.path = [path for path in sys.path if Path(path).resolve() != here]
    for name in ("vflc", "vflc_runtime"):
        sys.modules[name] = None  # type: ignore[assignment]
    import keras
    import numpy as np
    import tensorflow as tf

    for model, given, found in zip(arguments[::3], arguments[1::3], arguments[2::3], strict=True):
        with np.load(given) as arrays:
            feeds = {name.partition(":")[2]: tf.constant(arrays[name]) for name in arrays.files}
        loaded = keras.models.load_model(model, compile=False)
        made = loaded({name: feeds[name] for name in loaded.input})
        results: dict[str, Any] = {f"{i}:{name}": np.asarray(made[name]) for i, name in enumerate(made)}
        np.savez(found, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
