"""What a model was compiled with: losses, metrics, optimizers, schedules; several outputs; none at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keras_backend.keras_testing import needs_tensorflow

from vflc.diagnostics import Refused
from vflc.importing.keras_training import METRICS, RULES
from vflc.importing.run import import_model

pytestmark = needs_tensorflow
OWNERS = {"alice": ["x"], "bob": ["z"]}


def model(*heads: tuple[int, str | None]) -> Any:
    """A model with an output for each head: its width and last activation."""
    import keras
    from keras import layers as k

    x, z = keras.Input((2,), name="x"), keras.Input((2,), name="z")
    h = k.Dense(3, "relu")(k.Concatenate()([x, z]))
    made = [k.Dense(width, activation, name=f"head{i}")(h) for i, (width, activation) in enumerate(heads)]
    return keras.Model([x, z], made if len(made) > 1 else made[0])


def spec(made: Any, folder: Path, *labels: str, owners: Any = OWNERS) -> str:
    made.save(folder / "model.keras")
    return import_model(folder / "model.keras", owners, {"bob": labels or ("y",)}).text


def lines(text: str, *starts: str) -> list[str]:
    return [
        " ".join(line.split()) for line in text.splitlines() if line.split()[:1] and line.split()[0] in starts
    ]


LOSSES: dict[str, tuple[int, str | None, Callable[[Any], Any], str, str]] = {
    "bce": (1, "sigmoid", lambda l: "binary_crossentropy", "bce(head0, bob.y)", "label y: int"),
    "bce logits": (
        1,
        None,
        lambda l: l.BinaryCrossentropy(from_logits=True),
        "bce(head0, bob.y)",
        "label y: int",
    ),
    "sparse": (
        3,
        "softmax",
        lambda l: "sparse_categorical_crossentropy",
        "cce(head0, bob.y)",
        "label y: int -> index(3)",
    ),
    "classes": (
        3,
        None,
        lambda l: l.CategoricalCrossentropy(from_logits=True),
        "cce(head0, bob.y)",
        "label y: int -> index(3)",
    ),
    "mse": (1, None, lambda l: "mse", "mse(head0, bob.y)", "label y: float"),
    "mse of probabilities": (
        1,
        "sigmoid",
        lambda l: l.MeanSquaredError(),
        "mse(head0, bob.y)",
        "label y: float",
    ),
    "mae": (1, None, lambda l: "mean_absolute_error", "mae(head0, bob.y)", "label y: float"),
    "huber": (1, None, lambda l: "huber", "huber(head0, bob.y)", "label y: float"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str, tmp_path: Path) -> None:
    import keras

    width, activation, loss, objective, label = LOSSES[name]
    made = model((width, activation))
    made.compile("sgd", loss(keras.losses))
    text = spec(made, tmp_path)
    assert lines(text, "objective", "label") == [label, f"objective {objective}"]
    made = {"bce": "sigmoid(head0)", "cce": "softmax(head0)"}.get(objective[:3], "head0")
    assert lines(text, "predict") == [f"predict y = {made}"]


OPTIMIZERS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "SGD": (
        lambda o: o.SGD(0.1, momentum=0.9, nesterov=True),
        ["optimizer sgd(lr = 0.1, momentum = 0.9, nesterov = true)"],
    ),
    "Adam": (
        lambda o: o.Adam(0.002, beta_2=0.99, clipnorm=1.0),
        ["optimizer adam(lr = 0.002, beta2 = 0.99)", "clip_norm 1"],
    ),
    "AdamW": (
        lambda o: o.AdamW(weight_decay=0.01, clipvalue=0.5),
        ["optimizer adamw(lr = 0.001, weight_decay = 0.01)", "clip_value 0.5"],
    ),
    "RMSprop": (
        lambda o: o.RMSprop(rho=0.8, centered=True),
        ["optimizer rmsprop(lr = 0.001, rho = 0.8, centered = true)"],
    ),
    "Adagrad": (
        lambda o: o.Adagrad(0.05, initial_accumulator_value=0.2),
        ["optimizer adagrad(lr = 0.05, initial = 0.2)"],
    ),
    "Ftrl": (
        lambda o: o.Ftrl(0.05, l1_regularization_strength=0.01, l2_regularization_strength=0.02),
        ["optimizer ftrl(lr = 0.05, l1 = 0.01, l2 = 0.02)"],
    ),
    "cosine": (
        lambda o: o.SGD(o.schedules.CosineDecay(0.1, 100, alpha=0.5)),
        ["optimizer sgd(lr = cosine(0.1, 100, alpha = 0.5))"],
    ),
    "steps": (
        lambda o: o.SGD(o.schedules.ExponentialDecay(0.1, 50, 0.5, staircase=True)),
        ["optimizer sgd(lr = step(0.1, 50, factor = 0.5))"],
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name: str, tmp_path: Path) -> None:
    import keras

    made = model((1, None))
    made.compile(OPTIMIZERS[name][0](keras.optimizers), "mse")
    text = spec(made, tmp_path, owners={"alice": ["x", "z"]})  # with clip_norm, kernels are not cut
    assert lines(text, "optimizer", "clip_norm", "clip_value") == OPTIMIZERS[name][1]


def test_a_delta_that_keras_does_not_save_is_said(tmp_path: Path) -> None:
    import keras

    made = model((1, None))
    made.compile("sgd", keras.losses.Huber(delta=0.5))
    assert "# Keras does not save the delta of a Huber loss: it is 1 here." in spec(made, tmp_path)


def test_every_optimizer_has_a_case() -> None:
    assert set(RULES) <= set(OPTIMIZERS)


def test_metrics_are_those_of_the_language(tmp_path: Path) -> None:
    import keras
    from vflc_common.metrics import METRICS as OURS

    made = model((1, "sigmoid"))
    given = [
        "AUC",
        "accuracy",
        keras.metrics.AUC(curve="PR"),
        keras.metrics.Precision(),
        "mae",
        "binary_crossentropy",
    ]
    made.compile("sgd", "binary_crossentropy", metrics=given)
    assert lines(spec(made, tmp_path), "metrics") == [
        "metrics auc, accuracy, pr_auc, precision, mae, log_loss"
    ]
    assert all(name in OURS for name in METRICS.values())


def test_several_outputs_have_their_losses_and_labels(tmp_path: Path) -> None:
    made = model((1, "sigmoid"), (3, "softmax"))
    made.compile(
        "adam",
        {"head0": "binary_crossentropy", "head1": "sparse_categorical_crossentropy"},
        loss_weights={"head0": 1.0, "head1": 0.5},
    )
    text = spec(made, tmp_path, "liked", "stars")
    assert lines(text, "predict", "objective") == [
        "predict liked = sigmoid(head0)",
        "predict stars = softmax(head1)",
        "objective bce(head0, bob.liked) + 0.5 * cce(head1, bob.stars)",
    ]


def test_a_probability_that_is_read_again_stays_one(tmp_path: Path) -> None:
    """The logit under an output is the loss's; what else read the output still reads the probability."""
    import keras
    from keras import layers as k

    x, z = keras.Input((2,), name="x"), keras.Input((2,), name="z")
    h = k.Concatenate()([k.Dense(3, "relu")(x), k.Dense(3, "relu")(z)])
    click, buy = (k.Dense(1, "sigmoid", name=name)(h) for name in ("click", "buy"))
    made = keras.Model([x, z], [click, k.Multiply()([click, buy])])
    made.compile("sgd", ["binary_crossentropy", "mse"])
    text = spec(made, tmp_path, "clicked", "bought")
    assert "= sigmoid(click) * buy" in text
    assert len(re.findall(r"^click += dense\(joined, 1\)$", text, re.MULTILINE)) == 1


def test_an_uncompiled_model_says_that_its_loss_is_a_guess(tmp_path: Path) -> None:
    text = spec(model((1, "sigmoid")), tmp_path)
    assert "objective bce(head0, bob.y)" in text
    assert "# The file holds no loss: the objective follows from the last activation." in text


WRONG: dict[str, Callable[[Any, Any], None]] = {
    "the loss poisson": lambda k, m: m.compile("sgd", "poisson"),
    "label_smoothing": lambda k, m: m.compile("sgd", k.losses.BinaryCrossentropy(label_smoothing=0.1)),
    "reduction": lambda k, m: m.compile("sgd", k.losses.MeanSquaredError(reduction="sum")),
    "does not end in softmax": lambda k, m: m.compile("sgd", "sparse_categorical_crossentropy"),
    "the metric cosine_similarity": lambda k, m: m.compile("sgd", "mse", metrics=["cosine_similarity"]),
    "threshold": lambda k, m: m.compile("sgd", "mse", metrics=[k.metrics.BinaryAccuracy(threshold=0.3)]),
    "the optimizer Lion": lambda k, m: m.compile("lion", "mse"),
    "amsgrad": lambda k, m: m.compile(k.optimizers.Adam(amsgrad=True), "mse"),
    "global_clipnorm": lambda k, m: m.compile(k.optimizers.Adam(global_clipnorm=1.0), "mse"),
    "weight_decay": lambda k, m: m.compile(k.optimizers.SGD(weight_decay=0.1), "mse"),
    "the schedule": lambda k, m: m.compile(
        k.optimizers.SGD(k.optimizers.schedules.PolynomialDecay(0.1, 100)), "mse"
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_has_no_counterpart_is_named(what: str, tmp_path: Path) -> None:
    import keras

    made = model((1, "sigmoid"))
    WRONG[what](keras, made)
    with pytest.raises(Refused, match=what) as refused:
        spec(made, tmp_path)
    (found,) = refused.value.diagnostics
    assert found.code == "VFL0705" and found.help


@pytest.mark.parametrize("labels", [(), ("a", "b"), ("not a name",)])
def test_a_label_for_each_output(labels: tuple[str, ...], tmp_path: Path) -> None:
    model((1, None)).save(tmp_path / "model.keras")
    with pytest.raises(Refused, match="VFL0704"):
        import_model(tmp_path / "model.keras", OWNERS, {"bob": labels})


def test_numbers_that_would_cross_raw_need_a_layer_in_the_model(tmp_path: Path) -> None:
    """Nothing is written that a person could change, so that the help is about the model."""
    import keras
    from keras import layers as k

    x, z = keras.Input((2,), name="x"), keras.Input((2,), name="z")
    made = keras.Model([x, z], k.Dense(1)(k.BatchNormalization()(k.Concatenate()([x, z]))))
    with pytest.raises(Refused) as refused:
        spec(made, tmp_path)
    found = refused.value.diagnostics[0]
    assert found.code == "VFL0301" and found.help is not None
    assert "in the model that is imported" in found.help
