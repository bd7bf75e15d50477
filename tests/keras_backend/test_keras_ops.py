"""Every op through a `.keras` file: emitted, loaded again, and equal to its definition in numpy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from keras_testing import needs_tensorflow

from vflc.emit.keras.models import to_keras
from vflc.ops import OPS
from vflc.ops.mode import RESOLVED
from vflc.ops.source import INPUTS

sys.path.append(str(Path(__file__).parents[1] / "ops"))
from op_testing import evaluate, sample_case

pytestmark = [
    needs_tensorflow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

LOWERED = [name for name in OPS if name not in INPUTS | RESOLVED]


def test_every_op_through_a_file(tmp_path: Path) -> None:
    from vflc_runtime.engines.keras_setup import tensorflow

    tf, load = tensorflow().tf, tensorflow().keras.models.load_model
    path = tmp_path / "op.keras"
    for op in LOWERED:
        for number, sample in enumerate(OPS[op].samples):
            case = sample_case(op, sample, np.random.default_rng(5))
            made = to_keras(case.graph, op, [case.node.id], [case.node.id], "float64")
            path.write_bytes(made.content)
            feeds = [tf.constant(case.feeds[name]) for name in made.inputs if name in case.feeds]
            found = load(path)(feeds or [tf.ones(1, "float64")])
            found = found[0] if isinstance(found, (list, tuple)) else found
            wanted = evaluate(case.graph, case.feeds, [case.node.id])[0]
            message = f"{op} {number}"
            np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-9, atol=1e-9, err_msg=message)
