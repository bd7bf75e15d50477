"""What other libraries call what this language has under another name, and where to find it here.

A name that is close in spelling is not always close in meaning, so these go before `did_you_mean`.
"""

from __future__ import annotations

_DENSE = "write a fully connected layer as dense(x, units), several as mlp(x, [64, 32])"
_EMBED = "write embed(feature, dim = 8)"
_BCE = "write bce(logit, label), of the logit before `sigmoid`"
_CCE = "write cce(logits, label), of the logits before `softmax`"
_RATE = "give the learning rate to the optimizer: optimizer adam(lr = 0.001)"
_IDS = "end the chain in ids, as in `-> hash(1000)`, and embed them in the model: embed(feature, dim = 8)"


def _all(words: str, answer: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), answer)


FUNCTIONS = {
    **_all("linear fullyconnected fc", _DENSE),
    **_all("sequential", "apply layers one by one: `h = dense(x, 64)`; for several, write mlp(x, [64, 32])"),
    **_all("embedding embeddingbag nn.embedding", _EMBED),
    **_all("concatenate cat hstack", "write concat(x, y)"),
    **_all("reduce_sum", "write sum(x), or sum(x, axis = NAME)"),
    **_all("reduce_mean", "write mean(x), or mean(x, axis = NAME)"),
    **_all("batchnormalization batchnorm batchnorm1d", "write batch_norm(x)"),
    **_all("binary_crossentropy binarycrossentropy bce_with_logits bcewithlogitsloss bceloss "
           "binary_cross_entropy binary_cross_entropy_with_logits sigmoid_cross_entropy log_loss", _BCE),
    **_all("cross_entropy crossentropyloss categorical_crossentropy sparse_categorical_crossentropy "
           "nll_loss nllloss softmax_cross_entropy softmax_cross_entropy_with_logits softmax_ce", _CCE),
    **_all("mean_squared_error mseloss mse_loss", "write mse(prediction, label)"),
    **_all("mean_absolute_error l1loss l1_loss", "write mae(prediction, label)"),
    **_all("expand_dims unsqueeze squeeze", "change the sizes of a row with reshape(x, 1, 16)"),
    **_all("len", "write size(x)"),
}  # fmt: skip
ENCODERS = {
    **_all("one_hot onehot", "end the chain in ids, as in `-> vocab(…)`; in the model, one_hot(feature)"),
    **_all("embed embedding", _IDS),
}  # fmt: skip
TYPES = {
    **_all("boolean truth", "write bool"),
    **_all("category categorical object text varchar char", "write string"),
    **_all("datetime datetime64 timestamptz time moment", "write timestamp"),
    **_all("day", "write date"),
    **_all("double real number numeric decimal", "write float"),
    **_all("long bigint", "write int"),
}
SETTINGS = {
    **_all("lr learning_rate", _RATE),
    **_all("loss", "say what to minimise outside `train`: objective bce(logit, bob.liked)"),
    **_all("early_stopping early_stop", "write patience 3"),
    **_all("validation_split val_split test_size", "write validation 0.1"),
    **_all("bs", "write batch 128"),
    **_all("num_epochs n_epochs", "write epochs 5"),
    **_all("random_state", "write seed 7"),
    **_all("dtype mixed_precision amp autocast", "write precision bfloat16"),
    **_all("steps", "say it where you train: `vflc train … --steps 100`, in Python `fit(…, steps=100)`"),
}
ARGUMENTS = {
    **_all("learning_rate", "write lr"),
    **_all("dim axis dims", "give the axis by name: axis = field"),
    **_all("training train", "leave it out: the op is switched off in evaluation and prediction"),
    **_all("p prob", "write rate"),
    **_all("from_logits", "leave it out: the loss always reads logits"),
    **_all("sample_weight", "write weight = bob.W, with `weight W: float` in the party"),
    **_all("out_features output_dim", "give the size: dense(x, 16), embed(feature, dim = 8)"),
}


def instead(words: dict[str, str], name: str) -> str | None:
    """What to write for a name of another library."""
    return words.get(name.lower())
