"""What the files that a report is made of must hold, as types that msgspec checks.

They lie on a disk, and some come from others: what is not of these types is refused, not shown.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from msgspec import Struct
from vflc_common.bound import Bound
from vflc_runtime.audit.report import LeakLevel
from vflc_runtime.curves import CurveData
from vflc_runtime.run.drift import Drift
from vflc_runtime.run.results import RunScores
from vflc_runtime.run.shapes import Natural

SettingValue = str | int | float | bool | list[Any] | None


class ShownProtection(Struct):
    """A mechanism on an edge."""

    mechanism: str


class ShownWaiver(Struct):
    """A finding that the spec accepts."""

    code: str
    because: str = ""


class ShownEdge(Struct, rename={"source": "from", "target": "to"}):
    """An edge of the manifest."""

    id: str
    source: str
    target: str
    phase: str
    programs: list[str]
    bytes_per_row: Natural | None = 0
    bytes_per_step: Natural | None = 0
    depends_on: list[str] = []
    protections: list[ShownProtection] = []
    findings: list[str] = []
    accepted: list[ShownWaiver] = []


class ShownMessage(Struct):
    """A message of the manifest."""

    id: str
    edges: list[str]


class LearnedRow(Struct):
    """What a receiver may learn of a column."""

    receiver: str
    party: str
    column: str
    bound: Bound
    features: list[str] = []
    edges: list[str] = []
    programs: list[str] = []
    held: list[str] = []


class ShownEvidence(Struct):
    """What is known to reveal columns."""

    kind: str
    to: str
    of: list[str]
    says: str


class ShownManifest(Struct):
    """A manifest, as far as a report shows it."""

    model: str
    digest: str
    spec_sha256: str
    vflc: str
    precision: str
    places: list[str]
    edges: list[ShownEdge]
    messages: list[ShownMessage]
    learned: list[LearnedRow] = []
    evidence: list[ShownEvidence] = []
    once: list[str] = []


class ReadRows(TypedDict, total=False):
    """Of a party's table."""

    rows: Natural
    kept: Natural
    dropped: Natural
    missing: Natural


class UnplacedValues(TypedDict):
    """Of a column: values that its encoders did not know."""

    unknown: Natural
    missing: Natural
    examples: list[str]


class DataCounts(TypedDict):
    """What was read."""

    parties: dict[str, ReadRows]
    encoders: dict[str, UnplacedValues]


class AppliedProtection(TypedDict):
    """A mechanism that ran."""

    id: str
    mechanism: str
    options: dict[str, SettingValue]
    place: str
    steps: NotRequired[Natural]
    rows: NotRequired[Natural]
    edges: NotRequired[list[str]]
    privacy: NotRequired[str | None]
    promise: NotRequired[str]
    epsilon: NotRequired[float | None]
    delta: NotRequired[float | None]


class PeerTime(TypedDict):
    """What talking to a peer took."""

    waited: float
    sent: Natural
    received: Natural
    messages: NotRequired[dict[str, float]]


class UserPrivacy(TypedDict):
    """Of a population."""

    epsilon: float
    delta: float


class RunEnvironment(TypedDict):
    """What a run was made with."""

    python: str
    system: str
    machine: str
    processors: int | None
    packages: dict[str, str]


class RunResults(TypedDict, total=False):
    """What metrics.json holds."""

    rows: Natural
    train_rows: Natural
    validation_rows: Natural
    epochs: Natural
    rounds: Natural
    steps: Natural
    seconds: float
    train_seconds: float
    rows_per_second: float | None
    ended: str
    train: RunScores
    validation: RunScores
    test: RunScores
    best: dict[str, SettingValue] | None
    saved: dict[str, SettingValue] | None
    kernels: str
    factors: str
    bytes_sent: dict[str, Natural]
    protections: list[AppliedProtection]
    privacy: UserPrivacy | None
    peers: dict[str, PeerTime]
    data: DataCounts
    environment: RunEnvironment


class EpochResults(TypedDict):
    """A line of history.jsonl."""

    epoch: NotRequired[Natural]
    round: NotRequired[Natural]
    seconds: NotRequired[float]
    train: RunScores
    validation: RunScores


class EvaluationDetails(TypedDict):
    """What `vflc evaluate --details` and `vflc party --do evaluate --details` write."""

    digest: str
    rows: Natural
    model: str
    evaluation: RunScores
    data: DataCounts
    curves: NotRequired[dict[str, CurveData]]
    drift: NotRequired[dict[str, Drift]]


class ShownScore(Struct):
    """An attack of an audit."""

    party: str
    secret: str
    attack: str
    channel: str
    measure: str
    score: float
    quantile: float
    chance: float
    level: LeakLevel
    verdict: str
    bound: str
    advice: str | None = None


class ShownAudit(Struct):
    """What `vflc audit --json` writes."""

    format: Literal[3]
    digest: str
    model: str
    worst: LeakLevel
    rows: Natural
    steps: Natural
    scores: list[ShownScore]
