"""Every op through the file of a model: emitted, loaded again, and equal to its definition in numpy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from keras_testing import needs_tensorflow
from vflc_runtime.engines.keras_models import load_model

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


def test_every_op_through_a_file() -> None:
    from vflc_runtime.engines.keras_setup import tensorflow

    tf = tensorflow().tf
    for op in LOWERED:
        for number, sample in enumerate(OPS[op].samples):
            case = sample_case(op, sample, np.random.default_rng(5))
            made = to_keras(case.graph, op, [case.node.id], [case.node.id], "float64")
            feeds = [tf.constant(case.feeds[name]) for name in made.inputs if name in case.feeds]
            found = load_model(made.content, Path(made.file))(feeds or [tf.ones(1, "float64")])
            found = found[0] if isinstance(found, (list, tuple)) else found
            wanted = evaluate(case.graph, case.feeds, [case.node.id])[0]
            message = f"{op} {number}"
            np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-9, atol=1e-9, err_msg=message)
