"""What a Keras model was compiled with: losses, metrics and the optimizer in the words of the language."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from vflc.importing.keras_layer import function_name, plain, snake
from vflc.importing.model import Output
from vflc.translation.graph import Value, refuse
from vflc.translation.names import literal

COMPILE = "compile the model with one that has, and save it again"
LOSSES = {
    "binary_crossentropy": "bce", "categorical_crossentropy": "cce", "sparse_categorical_crossentropy": "cce",
    "mean_squared_error": "mse", "mse": "mse", "mean_absolute_error": "mae", "mae": "mae", "huber": "huber",
}  # fmt: skip
METRICS = {
    "auc": "auc", "precision": "precision", "recall": "recall", "mean_absolute_error": "mae", "mae": "mae",
    "root_mean_squared_error": "rmse", "accuracy": "accuracy", "acc": "accuracy",
    "binary_accuracy": "accuracy",
    "categorical_accuracy": "accuracy", "sparse_categorical_accuracy": "accuracy",
    "binary_crossentropy": "log_loss", "categorical_crossentropy": "log_loss",
    "sparse_categorical_crossentropy": "log_loss",
}  # fmt: skip
ACTIVATION = {"bce": "sigmoid", "cce": "softmax"}
"""What makes a prediction of the logit that a loss reads."""
GUESSED = "The file holds no loss: the objective follows from the last activation."
NO_DELTA = "Keras does not save the delta of a Huber loss: it is 1 here."
IGNORED = {"name", "dtype", "fn", "reduction", "axis"}


def outputs(named: list[tuple[str, Value]], compiled: Mapping[str, Any]) -> list[Output]:
    """Each output with its loss; a guess from its activation where the model was not compiled."""
    losses = _by_output(compiled.get("loss"), [name for name, _ in named], "loss")
    weights = _by_output(compiled.get("loss_weights"), [name for name, _ in named], "loss weight")
    return [
        _output(name, value, loss, weight, "loss" not in compiled)
        for (name, value), loss, weight in zip(named, losses, weights, strict=True)
    ]


def _by_output(given: Any, names: list[str], what: str) -> list[Any]:
    if isinstance(given, list):
        found = given
    elif isinstance(given, Mapping) and "class_name" not in given:
        found = [given.get(name) for name in names]
        if set(given) - set(names):
            refuse(
                "VFL0705", f"a {what} is for no output: {', '.join(sorted(set(given) - set(names)))}", COMPILE
            )
    else:
        found = [given] * len(names)
    if len(found) != len(names):
        refuse("VFL0705", f"there are {len(found)} entries of {what} for {len(names)} outputs", COMPILE)
    return found


def _output(name: str, value: Value, given: Any, weight: Any, guessed: bool) -> Output:
    last = _activation_of(value)
    if guessed:
        loss = {"sigmoid": "bce", "softmax": "cce"}.get(last, "mse")
        return _of(name, value, last, loss, {}, 1.0, ACTIVATION.get(loss) != last, (GUESSED,))
    if given is None:
        refuse(
            "VFL0705",
            f"the output `{name}` has no loss",
            "compile the model with a loss for each of its outputs",
        )
    loss_name, settings = _settings(given)
    if loss_name not in LOSSES:
        refuse(
            "VFL0705",
            f"the loss {loss_name} has no counterpart",
            f"use one of: {', '.join(sorted(set(LOSSES) - {'mse', 'mae'}))}",
        )
    loss = LOSSES[loss_name]
    reduction = settings.get("reduction", "sum_over_batch_size")
    if reduction not in ("sum_over_batch_size", "mean", "mean_with_sample_weight"):
        refuse(
            "VFL0705",
            f"the loss of `{name}` has reduction = {str(reduction)[:40]}",
            "use the mean over the batch",
        )
    for key, usual in (("label_smoothing", 0), ("ignore_class", None)):
        if settings.get(key, usual) not in (usual, None):
            refuse("VFL0705", f"the loss of `{name}` has {key} = {str(settings[key])[:20]}", COMPILE)
    _known(settings, {"from_logits", "label_smoothing", "ignore_class", "delta"}, f"the loss of `{name}`")
    kept = {"delta": plain(settings["delta"])} if loss == "huber" and "delta" in settings else {}
    notes = (NO_DELTA,) if loss_name == "huber" and isinstance(given, Mapping) and not kept else ()
    logits = bool(settings.get("from_logits"))
    return _of(name, value, last, loss, kept, 1.0 if weight is None else plain(weight), logits, notes)


def _of(
    name: str, value: Value, last: str, loss: str, settings: dict[str, float], weight: float, logits: bool,
    notes: tuple[str, ...],
) -> Output:  # fmt: skip
    if loss in ACTIVATION and not logits:
        if last != ACTIVATION[loss]:
            refuse(
                "VFL0705",
                f"the output `{name}` has a loss of probabilities, but does not end in {ACTIVATION[loss]}",
                f"end it in {ACTIVATION[loss]}, or compile the loss with from_logits=True",
            )
        value = _without(value)
    if loss != "cce" and prod(value.shape) != 1:
        refuse(
            "VFL0705",
            f"the output `{name}` has {prod(value.shape)} numbers a row for {loss}",
            "give each number an output of its own",
        )
    if loss == "cce" and (len(value.shape) != 1 or value.shape[0] < 2):
        refuse(
            "VFL0705",
            f"the output `{name}` has the shape {list(value.shape)} a row for classes",
            "let it end in a vector of logits",
        )
    return Output(value, loss, settings, weight, notes, name)


def _activation_of(value: Value) -> str:
    if value.op == "dense":
        return str(value.attrs["activation"])
    return value.op


def _without(value: Value) -> Value:
    """The logit that an activation was made of; what else reads the activation still does."""
    if value.op == "dense":
        attrs = {**value.attrs, "activation": "linear"}
        logit = Value(
            "dense", value.inputs, value.shape, attrs, value.layer, value.named, value.weights, value.many
        )
        value.op, value.inputs, value.weights, value.named = (
            str(value.attrs["activation"]),
            (logit,),
            {},
            False,
        )
        value.attrs = {"axis": len(value.shape) - 1} if value.op == "softmax" else {}
    return value.inputs[0]


def _settings(given: Any) -> tuple[str, dict[str, Any]]:
    """The name of a loss or metric and what it is set to."""
    if isinstance(given, Mapping) and given.get("class_name") != "function":
        config = given.get("config")
        return snake_name(str(given.get("class_name"))), dict(config) if isinstance(config, Mapping) else {}
    name = function_name(given)
    return (snake_name(name) if not name.islower() else name), {}


def snake_name(kind: str) -> str:
    return kind.lower() if kind.isupper() else snake(kind)


def _known(settings: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(key for key in settings if key not in known | IGNORED and settings[key] is not None)
    if unknown:
        refuse("VFL0705", f"{what} has {', '.join(unknown)}, which has no counterpart", COMPILE)


# --- metrics ----------------------------------------------------------------------------------------


def metrics(compiled: Mapping[str, Any]) -> list[str]:
    """The metrics' names, each once."""
    found: list[str] = []
    for given in _flat([compiled.get("metrics"), compiled.get("weighted_metrics")]):
        name, settings = _settings(given)
        if settings.get("curve") == "PR":
            name = "pr_auc"
        if name not in (*METRICS, "pr_auc") or settings.get("thresholds") not in (None, 0.5):
            refuse(
                "VFL0705",
                f"the metric {name} has no counterpart",
                f"use some of: {', '.join(sorted(set(METRICS)))}",
            )
        for key in ("top_k", "class_id", "multi_label", "label_weights", "num_labels"):
            if settings.get(key):
                refuse("VFL0705", f"the metric {name} has {key}, which has no counterpart", COMPILE)
        if settings.get("threshold", 0.5) != 0.5:
            refuse("VFL0705", f"the metric {name} has a threshold other than 0.5", COMPILE)
        found.append(METRICS.get(name, name))
    return list(dict.fromkeys(found))


def _flat(given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, list):
        return [each for one in given for each in _flat(one)]
    if isinstance(given, Mapping) and "class_name" not in given:
        return [each for one in given.values() for each in _flat(one)]
    return [given]


# --- optimizers -------------------------------------------------------------------------------------

RULES: dict[str, tuple[str, dict[str, tuple[str, float | bool]], set[str]]] = {
    "SGD": ("sgd", {"momentum": ("momentum", 0.0), "nesterov": ("nesterov", False)}, set()),
    "Adam": (
        "adam",
        {"beta_1": ("beta1", 0.9), "beta_2": ("beta2", 0.999), "epsilon": ("eps", 1e-7)},
        {"amsgrad"},
    ),
    "AdamW": (
        "adamw",
        {
            "weight_decay": ("weight_decay", 0.004), "beta_1": ("beta1", 0.9), "beta_2": ("beta2", 0.999),
            "epsilon": ("eps", 1e-7),
        },
        {"amsgrad"},
    ),
    "RMSprop": (
        "rmsprop",
        {
            "rho": ("rho", 0.9), "momentum": ("momentum", 0.0), "epsilon": ("eps", 1e-7),
            "centered": ("centered", False),
        },
        set(),
    ),
    "Adagrad": ("adagrad", {"initial_accumulator_value": ("initial", 0.1), "epsilon": ("eps", 1e-7)}, set()),
    "Ftrl": (
        "ftrl",
        {
            "l1_regularization_strength": ("l1", 0.0), "l2_regularization_strength": ("l2", 0.0),
            "initial_accumulator_value": ("initial", 0.1), "learning_rate_power": ("lr_power", -0.5),
        },
        {"l2_shrinkage_regularization_strength", "beta"},
    ),
}  # fmt: skip
"""Of an optimizer its name here, its settings with theirs and the defaults here, and what must be unset."""
UNSET = {"global_clipnorm", "use_ema", "loss_scale_factor", "gradient_accumulation_steps", "weight_decay"}
NO_MEANING = {"name", "learning_rate", "ema_momentum", "ema_overwrite_frequency", "clipnorm", "clipvalue"}


def optimizer(compiled: Mapping[str, Any]) -> list[str]:
    """Lines of `train`."""
    given = compiled.get("optimizer")
    if isinstance(given, str):
        kinds = {kind.lower(): kind for kind in RULES}
        given = {"class_name": kinds.get(given, given), "config": {}}
    given = given if isinstance(given, Mapping) else {}
    kind = str(given.get("class_name"))
    if kind not in RULES or not str(given.get("module", "keras")).startswith("keras"):
        refuse("VFL0705", f"the optimizer {kind[:40]} has no counterpart", f"use one of: {', '.join(RULES)}")
    config = given.get("config")
    config = config if isinstance(config, Mapping) else {}
    name, settings, unset = RULES[kind]
    for key in config:
        if key not in settings and key not in UNSET | NO_MEANING | unset:
            refuse("VFL0705", f"the optimizer {kind} has {str(key)[:40]}, which has no counterpart", COMPILE)
        if key in UNSET | unset and key not in settings and config[key]:
            refuse(
                "VFL0705",
                f"the optimizer {kind} has {key} = {str(config[key])[:20]}, which has no counterpart",
                COMPILE,
            )
    arguments = [f"lr = {_rate(config['learning_rate'])}"] if "learning_rate" in config else []
    for key, (here, default) in settings.items():
        value = config.get(key, default)
        value = value if isinstance(value, bool) else default if value is None else plain(value)
        if value != default:
            arguments.append(f"{here} = {str(value).lower() if isinstance(value, bool) else literal(value)}")
    lines = [f"optimizer {name}({', '.join(arguments)})"]
    clips = (("clipnorm", "clip_norm"), ("clipvalue", "clip_value"))
    return lines + [
        f"{here} {literal(plain(config[key]))}" for key, here in clips if config.get(key) is not None
    ]


def _rate(given: Any) -> str:
    """A learning rate, or a schedule of the language."""
    if not isinstance(given, Mapping):
        return literal(plain(given))
    kind, config = given.get("class_name"), given.get("config") or {}
    first = literal(plain(config.get("initial_learning_rate", 0)))
    if kind == "CosineDecay" and config.get("warmup_target") is None and not config.get("warmup_steps"):
        return f"cosine({first}, {_steps(config)}, alpha = {literal(plain(config.get('alpha', 0)))})"
    if kind == "ExponentialDecay" and config.get("staircase"):
        return f"step({first}, {_steps(config)}, factor = {literal(plain(config.get('decay_rate', 1)))})"
    refuse(
        "VFL0705",
        f"the schedule {str(kind)[:40]} of the learning rate has no counterpart",
        "use a number, CosineDecay without warmup, or ExponentialDecay with staircase=True",
    )


def _steps(config: Mapping[str, Any]) -> str:
    return literal(plain(config.get("decay_steps", 0)))
