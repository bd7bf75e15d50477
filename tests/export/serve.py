"""Run as a script, with nothing of vflc: predictions of exported models from raw rows.

    python serve.py FOLDER ROWS.jsonl > PREDICTIONS.json

The rows have the columns of all parties, as `party.column`.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path, rows: Path) -> None:
    """Runs each model once all that it takes is there."""
    for name in ("vflc", "vflc_runtime"):
        sys.modules[name] = None  # type: ignore[assignment]
    spec = importlib.util.spec_from_file_location("encode", folder / "encode.py")
    assert spec is not None and spec.loader is not None
    encode = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(encode)
    import numpy as np
    import onnxruntime

    raw = [json.loads(line) for line in rows.read_text("utf-8").splitlines()]
    waiting = {path: json.loads(path.read_text("utf-8")) for path in folder.rglob("*.json")}
    values: dict[str, Any] = {}
    for description in waiting.values():
        types = {given["name"]: given["type"].replace("string", "object") for given in description["inputs"]}
        encoded = encode.encode(description, raw)
        values |= {name: np.array(column, types[name]) for name, column in encoded.items()}
    predictions: dict[str, Any] = {}
    while waiting:
        ready = [path for path, d in waiting.items() if all(given["name"] in values for given in d["inputs"])]
        path, description = ready[0], waiting.pop(ready[0])
        session = onnxruntime.InferenceSession(path.with_suffix(".onnx"))
        found = session.run(None, {given["name"]: values[given["name"]] for given in description["inputs"]})
        for given, value in zip(description["outputs"], found, strict=True):
            values[given["name"]] = value
            if given["prediction"]:
                predictions[given["prediction"]] = value.reshape(len(raw), -1).tolist()
    json.dump(predictions, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
