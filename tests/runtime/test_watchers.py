"""`--tensorboard` and `--mlflow`: settings, results of every epoch or round, and the files of a run."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from vflc_runtime import events
from vflc_runtime.errors import Failure
from vflc_runtime.run import watchers

pytestmark = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


class Server(HTTPServer):
    """As much of MLflow's REST interface as a run needs; what it was sent is kept."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[tuple[str, Any]] = []
        self.broken = False


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None: ...

    def _answer(self, code: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if "runs/get" in self.path:
            self._answer(200, {"run": {"info": self._info(), "data": {}}})
            return
        self._answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"})

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        name, content = self.path.split("/mlflow/")[-1], json.loads(self.rfile.read(size) or b"{}")
        if self.server.broken:
            self._answer(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "no room"})
            return
        self.server.heard.append((name, content))
        info = self._info()
        self._answer(200, {"experiment_id": "1", "run": {"info": info, "data": {}}, "run_info": info})

    def _info(self) -> dict[str, Any]:
        return {
            "run_id": "r1", "run_uuid": "r1", "experiment_id": "1", "status": "RUNNING",
            "artifact_uri": f"file:{self.server.artifacts}", "start_time": 1, "lifecycle_stage": "active",
        }  # fmt: skip

    do_PATCH = do_POST


@pytest.fixture
def server(tmp_path: Path):
    found = Server()
    found.artifacts = tmp_path / "artifacts"
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run-7"
    (folder / "bundle").mkdir(parents=True)
    (folder / "a").mkdir()
    (folder / "run.json").write_text('{"format": 1, "batch": 8, "digest": "d1", "secret": "hidden"}')
    (folder / "bundle" / "manifest.json").write_text("{}")
    (folder / "metrics.json").write_text(
        '{"data": {"encoders": {"a.x": {"examples": ["Jane"]}}}, "steps": 3}'
    )
    (folder / "history.jsonl").write_text("")
    (folder / "a" / "model.safetensors").write_bytes(b"weights")
    return folder


EPOCH = events.EpochEnded(1, 0.5, {"loss": 0.5}, {"loss": 0.25, "ndcg(10)": 0.75, "auc": None}, True)


def test_mlflow_has_settings_results_and_files(server: Server, run: Path) -> None:
    with watchers.MLflow(f"http://127.0.0.1:{server.server_port}", run, "vflc m") as log:
        log(events.EpochStarted(1, 2, 3))
        log(EPOCH)
        log(events.RoundEnded(4, 9, 1.0, {"loss": 2.0}, {}, 10.0))
        log(events.Done(3, "all epochs are done"))
    heard = server.heard
    parameters = {c["key"]: c["value"] for n, c in heard if n == "runs/log-parameter"}
    assert parameters == {"batch": "8", "digest": "d1"}  # no secret
    metrics = {(c["key"], c["step"]): c["value"] for n, c in heard if n == "runs/log-metric"}
    assert metrics == {
        ("train/loss", 1): 0.5, ("validation/loss", 1): 0.25, ("validation/ndcg_10_", 1): 0.75,
        ("train/loss", 4): 2.0,
    }  # fmt: skip
    assert next(c["name"] for n, c in heard if n == "experiments/create") == "vflc m"
    assert [c["status"] for n, c in heard if n == "runs/update"] == ["FINISHED"]
    kept = {str(p.relative_to(server.artifacts)) for p in server.artifacts.rglob("*") if p.is_file()}
    assert kept == {"manifest.json", "metrics.json", "history.jsonl", "a/model.safetensors"}
    assert "Jane" not in (server.artifacts / "metrics.json").read_text()


def test_a_server_that_fails_later_ends_nothing(server: Server, run: Path) -> None:
    warned: list[Any] = []
    with watchers.MLflow(f"http://127.0.0.1:{server.server_port}", run, "vflc m", warned.append) as log:
        server.broken = True
        log(events.EpochStarted(1, 2, 3))
        log(EPOCH)
    assert [each.code for each in warned] == ["VFL0751"]


def test_a_server_that_is_not_there_is_said_at_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Failure) as failed:
        watchers.MLflow("http://127.0.0.1:1", run, "vflc m")
    assert failed.value.code == "VFL0751" and "127.0.0.1:1" in failed.value.message


def test_tensorboard_has_rounds(tmp_path: Path) -> None:
    with watchers.TensorBoard(tmp_path / "logs") as log:
        log(events.RoundEnded(4, 9, 1.0, {"loss": 2.0}, {"loss": 1.0}, 10.0))
    (file,) = (tmp_path / "logs").iterdir()
    content = file.read_bytes()
    assert all(name in content for name in (b"train/loss", b"validation/loss", b"users_per_second"))
