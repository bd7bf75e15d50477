"""Trains, evaluates and predicts with room for few rows; tells what memory that took and what came out.

Arguments: a folder with the bundle `b` and tables, and how many times as little room there is as usual.
"""

import hashlib
import json
import resource
import sys
from pathlib import Path

import pyarrow.parquet
from vflc_runtime import memory
from vflc_runtime.data import batches, dataset, staged
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, train

folder, less = Path(sys.argv[1]), int(sys.argv[2])
memory._TABLES, memory._COLUMN = memory._TABLES // min(less, 8), 0  # DuckDB does nothing with less
batches.PIECE //= less
staged.READ //= less
dataset.IN_MEMORY //= less

sources = {party: folder / f"{party}.parquet" for party in ("alice", "bob")}
train(folder / "b", sources, folder / "run", TrainOptions(epochs=1, batch=4096, validation=0.1))
found = evaluate(folder / "run", sources)["evaluation"]
predict(folder / "run", sources, folder / "p.parquet")
weights = sorted((folder / "run").glob("checkpoints/*/*/model.safetensors"))
print(
    json.dumps(
        {
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
            "weights": [hashlib.sha256(file.read_bytes()).hexdigest() for file in weights],
            "evaluation": found,
            "predictions": pyarrow.parquet.read_table(folder / "p.parquet")["liked"].to_numpy().sum().item(),
        }
    )
)
