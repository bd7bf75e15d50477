"""Functions of the Keras engine as XLA compiles them, where this installation asks for it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from vflc_common.keras import quiet

from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.errors import Failure

LOG = logging.getLogger("vflc_runtime.xla")

SWITCH = "VFLC_XLA"
"""In the environment: `on`, or `off`, which is what holds where nothing is said."""


def wanted() -> bool:
    """Whether XLA is to compile what it can.

    Raises:
        Failure: VFL0792, the environment says neither.
    """
    value = os.environ.get(SWITCH) or "off"
    if value not in ("on", "off"):
        message = f"{SWITCH} is {value!r} in the environment"
        raise Failure("VFL0792", message, "set it to on or off, or leave it out")
    return value == "on"


def by_xla(name: str, function: Any, inputs: Sequence[Any], persistent: bool | None = None) -> Any:
    """A function by XLA where that is wanted and XLA can compile it; else the function as it is.

    What is chosen depends on the function and not on the number of rows, though XLA compiles anew for
    each: so a run that was interrupted goes on with the same bits.

    Args:
        name: what the function is, for the log.
        function: a `tf.function` without side effects, with an input signature.
        inputs: it is tried on them.
        persistent: of the tape that will watch it, where one will: then its gradients are tried, too.
    """
    if not wanted():
        return function
    tf = tensorflow().tf
    found = tf.function(function.python_function, function.input_signature, autograph=False, jit_compile=True)
    try:
        with quiet():  # of the first compilation it says that there will be no word of others
            _try(found, inputs, persistent)
    except (tf.errors.OpError, LookupError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        LOG.warning("XLA cannot compile %s, which runs without it: %s", name, first[:200])
        return function
    LOG.info("XLA compiles %s", name)
    return found


def _try(function: Any, inputs: Sequence[Any], persistent: bool | None) -> None:
    """Raises what TensorFlow raises where the function or its gradients cannot be compiled."""
    if persistent is None:
        function(*inputs)
        return
    with tensorflow().tf.GradientTape(persistent=persistent) as tape:
        watched = [each for each in inputs if each.dtype.is_floating]
        tape.watch(watched)
        made = [each for each in function(*inputs) if each.dtype.is_floating]
    if made:
        tape.gradient(made, [*watched, *tape.watched_variables()])
