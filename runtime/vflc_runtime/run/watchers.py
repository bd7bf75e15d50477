"""Those who are told what a run tells: TensorBoard and MLflow. Their packages are imported when used."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from vflc_runtime import events, files
from vflc_runtime.errors import Failure


class TensorBoard(AbstractContextManager["TensorBoard"]):
    """Writes losses and metrics of every epoch or round, and the speed, as TensorBoard reads them.

    Args:
        folder: for its files, one a start.

    Raises:
        Failure: VFL0656 where tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise Failure(
                "VFL0656", "TensorBoard logs need tensorboardX", "pip install 'vflc[tensorboard]'"
            ) from None
        with files.writing(folder):
            self._writer: Any = SummaryWriter(str(folder))
        self._steps = self._first = 0

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.EpochStarted():
                self._steps, self._first = event.steps, (event.epoch - 1) * event.steps
            case events.Progress():
                at = self._first + event.done
                self._add("rows_per_second", event.rows_per_second, at)
                self._add("step/loss", event.loss, at)
            case events.EpochEnded():
                self._scores(event, event.epoch * self._steps)
            case events.RoundEnded():
                self._add("users_per_second", event.users_per_second, event.number)
                self._scores(event, event.number)

    def _scores(self, event: events.EpochEnded | events.RoundEnded, step: int) -> None:
        for name, value in scores_of(event).items():
            self._add(name, value, step)
        self._writer.flush()

    def _add(self, name: str, value: float | None, step: int) -> None:
        if value is not None:
            self._writer.add_scalar(name, value, step)


class MLflow(AbstractContextManager["MLflow"]):
    """Writes a run to an MLflow server: its settings, metrics by epoch or round, and at the end its files.

    The files are the manifest, what `metrics.json` and `history.jsonl` hold without values of the tables, and
    the models of the places that are here. A server that cannot be reached any more is said once and ends
    nothing.

    Args:
        uri: of the server, or of a database that MLflow writes.
        run: the folder of the run, once it is there; its name is the name of the run.
        experiment: under which runs are collected.
        warn: is told where the server cannot be reached any more.

    Raises:
        Failure: VFL0656 where MLflow is not installed; VFL0751, the server cannot be reached or used.
    """

    def __init__(self, uri: str, run: Path, experiment: str, warn: events.Listener = events.silent) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise Failure("VFL0656", "MLflow logs need mlflow-skinny", "pip install 'vflc[mlflow]'") from None
        self._uri, self._folder, self._warn, self._told = uri, run, warn, False
        self._works = True
        try:
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(experiment)
            id = known.experiment_id if known else self._client.create_experiment(experiment)
            self._run = self._client.create_run(id, run_name=run.name).info.run_id
        except Exception as error:  # whatever its store, its library or the network raises
            raise self._failed(error) from None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        status = (
            "FINISHED" if error is None else "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        )
        self._try(lambda: self._client.set_terminated(self._run, status))

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.EpochStarted():
                self._settings()
            case events.EpochEnded():
                self._scores(event, event.epoch)
            case events.RoundEnded():
                self._settings()
                self._scores(event, event.number)
            case events.Done():
                self._try(self._files)

    def _settings(self) -> None:
        """What run.json holds, once, without what is the run's own secret."""
        if self._told:
            return
        self._told = True
        known = json.loads((self._folder / "run.json").read_bytes())
        for name, value in known.items():
            if name not in ("secret", "ledger", "format"):
                self._try(partial(self._client.log_param, self._run, name, str(value)[:500]))

    def _scores(self, event: events.EpochEnded | events.RoundEnded, step: int) -> None:
        for name, value in scores_of(event).items():
            if value is not None:
                called = _NOT_IN_A_NAME.sub("_", name)
                self._try(partial(self._client.log_metric, self._run, called, value, step=step))

    def _files(self) -> None:
        folder, log = self._folder, self._client
        for name in ("manifest.json", "manifest.md"):
            if (folder / "bundle" / name).exists():
                log.log_artifact(self._run, str(folder / "bundle" / name))
        found = json.loads((folder / "metrics.json").read_bytes())
        log.log_dict(self._run, without_values(found), "metrics.json")
        log.log_artifact(self._run, str(folder / "history.jsonl"))
        for model in sorted(folder.glob("*/model.safetensors")):
            log.log_artifact(self._run, str(model), artifact_path=model.parent.name)

    def _try(self, work: Callable[[], Any]) -> None:
        """Does it, unless the server is gone."""
        if not self._works:
            return
        try:
            work()
        except Exception as error:  # see above
            self._works = False
            failed = self._failed(error)
            self._warn(events.Warned(failed.code, failed.message, "training goes on without"))

    def _failed(self, error: Exception) -> Failure:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        help = "name a tracking server, as http://127.0.0.1:5000, which `mlflow server` starts"
        return Failure("VFL0751", f"MLflow at {self._uri} cannot be used: {reason}", help)


_NOT_IN_A_NAME = re.compile(r"[^\w /.:-]")
"""Characters that MLflow has in no name of a metric: `ndcg(10)` becomes `ndcg_10_`."""
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # what is trained here is nobody else's matter
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""How MLflow's client behaves, where the environment does not say otherwise."""


def scores_of(event: events.EpochEnded | events.RoundEnded) -> dict[str, float | None]:
    """The results of an epoch or a round: `train/loss`, `validation/auc`."""
    groups = {"train": event.train, "validation": event.validation}
    return {f"{group}/{name}": value for group, scores in groups.items() for name, value in scores.items()}


def without_values(content: Any) -> Any:
    """What a run tells without the examples of values that encoders did not know: others may read it."""
    if isinstance(content, Mapping):
        return {key: without_values(each) for key, each in content.items() if key != "examples"}
    return content


def told(*listeners: Callable[[events.Event], None]) -> events.Listener:
    """One listener that tells all of them."""

    def listen(event: events.Event) -> None:
        for listener in listeners:
            listener(event)

    return listen
