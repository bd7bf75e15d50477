"""What other libraries call what this language has under another name, and where to find it here.

A name that is close in spelling is not always close in meaning, so these go before `did_you_mean`.
"""

from __future__ import annotations

_DENSE = "a fully connected layer is dense(x, units), several are mlp(x, [64, 32])"
_EMBED = "it is embed(feature, dim = 8)"
_BCE = "it is bce(logit, label), of the logit before `sigmoid`"
_CCE = "it is cce(logits, label), of the logits before `softmax`"
_RATE = "the learning rate is the optimizer's: optimizer adam(lr = 0.001)"
_IDS = "a chain ends in ids, as in `-> hash(1000)`; the model makes vectors of them: embed(feature, dim = 8)"


def _all(words: str, answer: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), answer)


FUNCTIONS = {
    **_all("linear fullyconnected fc", _DENSE),
    **_all("sequential", "layers follow one another: `h = dense(x, 64)`; several are mlp(x, [64, 32])"),
    **_all("embedding embeddingbag nn.embedding", _EMBED),
    **_all("concatenate cat hstack", "it is concat(x, y)"),
    **_all("reduce_sum", "it is sum(x), or sum(x, axis = NAME)"),
    **_all("reduce_mean", "it is mean(x), or mean(x, axis = NAME)"),
    **_all("batchnormalization batchnorm batchnorm1d", "it is batch_norm(x)"),
    **_all("binary_crossentropy binarycrossentropy bce_with_logits bcewithlogitsloss bceloss "
           "binary_cross_entropy binary_cross_entropy_with_logits sigmoid_cross_entropy log_loss", _BCE),
    **_all("cross_entropy crossentropyloss categorical_crossentropy sparse_categorical_crossentropy "
           "nll_loss nllloss softmax_cross_entropy softmax_cross_entropy_with_logits softmax_ce", _CCE),
    **_all("mean_squared_error mseloss mse_loss", "it is mse(prediction, label)"),
    **_all("mean_absolute_error l1loss l1_loss", "it is mae(prediction, label)"),
    **_all("expand_dims unsqueeze squeeze", "sizes of a row change by reshape(x, 1, 16)"),
    **_all("len", "it is size(x)"),
}  # fmt: skip
ENCODERS = {
    **_all("normalize normalise zscore z_score standardscaler scaler", "it is standardize"),
    **_all("one_hot onehot", "a chain ends in ids, as in `-> vocab(…)`; the model makes 0 and 1 of them: "
           "one_hot(feature)"),
    **_all("embed embedding", _IDS),
    **_all("fillna impute default", "it is missing(0)"),
    **_all("log", "it is log1p, or compute it: feature x = log(Income)"),
    **_all("category categorical lookup stringlookup", 'it is vocab("a", "b"), or hash(1000)'),
    **_all("bucket buckets bin bins discretize cut", "it is bucketize(18, 25, 35)"),
}  # fmt: skip
TYPES = {
    **_all("bool boolean", "a truth value is an int, 0 or 1"),
    **_all("category categorical object text varchar char date datetime timestamp", "it is string"),
    **_all("double real number numeric decimal", "it is float"),
    **_all("long bigint", "it is int"),
}
SETTINGS = {
    **_all("lr learning_rate", _RATE),
    **_all("loss", "what is minimised is said outside: objective bce(logit, bob.liked)"),
    **_all("early_stopping early_stop", "it is patience 3"),
    **_all("validation_split val_split test_size", "it is validation 0.1"),
    **_all("bs", "it is batch 128"),
    **_all("num_epochs n_epochs", "it is epochs 5"),
    **_all("random_state", "it is seed 7"),
    **_all("steps", "it is an option of the command: vflc train … --steps 100"),
}
ARGUMENTS = {
    **_all("learning_rate", "it is lr"),
    **_all("dim axis dims", "axes go by their names: axis = field"),
    **_all("training train", "it is off by itself where the model evaluates or predicts"),
    **_all("p prob", "it is rate"),
    **_all("from_logits", "it always reads logits"),
    **_all("sample_weight", "it is weight = bob.W, of a `weight W: float` in the party"),
    **_all("out_features output_dim", "it is the size: dense(x, 16), embed(feature, dim = 8)"),
}


def instead(words: dict[str, str], name: str) -> str | None:
    """What to write for a name of another library."""
    return words.get(name.lower())
