"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from vflc_common.words import DEFAULT_ENGINE, DEVICES, PRECISIONS

if TYPE_CHECKING:
    from vflc_runtime.run.transcript import RecordingLength

SPEC = click.Path(path_type=Path)
"""A spec that cannot be read is a diagnostic of the driver, so click does not look at it."""
RUN = click.Path(exists=True, file_okay=False, path_type=Path)
PRECISION = click.Choice(PRECISIONS)


class NewFolder(click.Path):
    """A folder, which is made with those above it where they are missing."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """VFL0612, before any work is done, where no folder can be made there."""
        folder = Path(str(super().convert(value, param, ctx)))
        with suppress(OSError):  # what may not be looked at is told when it is made
            above = next((each for each in folder.parents if each.exists()), None)
            if above is not None and not above.is_dir():
                from vflc_runtime.errors import Failure

                raise Failure("VFL0612", f"cannot write {folder}: {above} is a file", "name another place")
        return folder


NEW_FOLDER = NewFolder()


class EngineName(click.ParamType):  # type: ignore[type-arg]
    """An engine, ours or another package's, by its name."""

    name = "engine"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        from vflc_common.engines import ENGINES

        return f"[{'|'.join(ENGINES.ours)}|…]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from vflc_common.engines import ENGINES

        if value not in ENGINES:
            self.fail(f"there is no engine {value!r}; engines: {', '.join(ENGINES.names())}", param, ctx)
        return str(value)


def _sources(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    sources: dict[str, str] = {}
    for value in values:
        party, equals, source = value.partition("=")
        if "://" in party:  # a URL, which may hold a password
            raise click.BadParameter("a URL comes after the party: alice=postgresql://…")
        if not (party and equals and source):
            raise click.BadParameter(f"{value!r} is not PARTY=SOURCE, as in alice=alice.csv")
        if party in sources:
            raise click.BadParameter(f"{party!r} has two sources; combine files with a glob or a SQL query")
        sources[party] = source
    return sources


def _overrides(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for text in values:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE, as in LR=0.01")
        overrides[name] = value
    return overrides


def overrides(command: Any) -> Any:
    """The option `--set NAME=VALUE`; arrives as `overrides`, by name, the last of each."""
    return click.option(
        "--set",
        "overrides",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_overrides,
        help="Another value for a top-level binding of SPEC, or for a setting of `train`. May be repeated.",
    )(command)


def engine(command: Any) -> Any:
    """The options `--engine` and `--device`: what executes the graphs, and where; both arrive as `engine`."""
    where = click.option(
        "--device",
        type=click.Choice(DEVICES),
        default=DEVICES[0],
        show_default=True,
        expose_value=False,
        is_eager=True,
        callback=lambda context, option, value: context.meta.update({DEVICE: value}),
        help="Where the engine onnx runs: cuda needs an NVIDIA GPU and onnxruntime-gpu.",
    )
    what = click.option(
        "--engine",
        type=EngineName(),
        default=DEFAULT_ENGINE,
        show_default=True,
        callback=lambda context, option, value: placed(value, context.meta[DEVICE]),
        help="The engine that runs the graphs; keras uses TensorFlow, and a GPU if there is one.",
    )
    return where(what(command))


DEVICE = "vflc.device"
"""Where `--device` is kept until `--engine` is read."""


def placed(engine: str, device: str) -> str:
    """The engine by that name on a device; a usage error where it does not run there."""
    from vflc_common.engines import on_device

    if device == DEVICES[0]:
        return engine
    found = on_device(engine, device)
    if found is None:
        raise click.UsageError(f"--device {device} is for --engine {DEFAULT_ENGINE}, not for {engine}")
    return found


def reads(engines: Iterable[str]) -> tuple[str, ...]:
    """What a spec is compiled to for engines."""
    from vflc_runtime.bundle.plugins import find_engine

    return tuple(dict.fromkeys(find_engine(each).reads for each in engines))


def data(command: Any, required: bool = True, otherwise: str = "") -> Any:
    """The option `--data PARTY=SOURCE`, once for each party; arrives as `sources`.

    Args:
        command: what gets the option.
        required: whether there must be one.
        otherwise: ends the help: what happens without.
    """
    where = "A party's table: CSV, Parquet, JSON, a glob, a SQL query, or a URL. Once per party."
    return click.option(
        "--data",
        "sources",
        metavar="PARTY=SOURCE",
        multiple=True,
        required=required,
        callback=_sources,
        help=where + otherwise,
    )(command)


def validation_data(command: Any) -> Any:
    """The option `--validation-data PARTY=SOURCE`, once for each party; None where it is not given."""
    return click.option(
        "--validation-data",
        metavar="PARTY=SOURCE",
        multiple=True,
        callback=lambda *given: _sources(*given) or None,
        help="A party's table of rows to validate with, in place of a part of the others.",
    )(command)


def folds(command: Any) -> Any:
    """The option `--folds`: a run for each part of the rows."""
    return click.option(
        "--folds",
        type=click.IntRange(2),
        help="Part the rows into this many: a run each, validated with its part and trained on the others.",
    )(command)


def json_output(command: Any) -> Any:
    """The option `--json`; arrives as `as_json`. Progress then goes to stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print only JSON; progress goes to stderr.")(
        command
    )


def print_json(found: Any) -> None:
    """What a command found, as the one thing that it prints on stdout; docs/json.md has the shapes."""
    import json

    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


def live(command: Any) -> Any:
    """The options `--live` and `--live-port`; arrive as `live_port`, None where the page is not served."""

    def port(context: click.Context, option: click.Parameter, value: int | None) -> int | None:
        return 0 if value is None and context.meta.get(LIVE) else value

    where = click.option(
        "--live-port",
        type=click.IntRange(0, 65535),
        callback=port,
        help="The same, at this port.",
    )
    whether = click.option(
        "--live",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=lambda context, option, value: context.meta.update({LIVE: value}),
        help="Serve the report, which follows the run, on loopback; prints its address.",
    )
    return whether(where(command))


LIVE = "vflc.live"
"""Where `--live` is kept until `--live-port` is read."""


def details(command: Any) -> Any:
    """The option `--details FILE`."""
    return click.option(
        "--details",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Also write what `vflc report --evaluation` shows to this file: curves, and drift of columns.",
    )(command)


def watchers(command: Any) -> Any:
    """The options `--tensorboard` and `--mlflow`, and those of `live`."""
    command = live(command)
    mlflow = click.option("--mlflow", metavar="URI", help="Write the run to this MLflow server.")
    return click.option(
        "--tensorboard",
        type=NEW_FOLDER,
        help="Write TensorBoard logs to this folder.",
    )(mlflow(command))


def watched(
    stack: ExitStack,
    screen: Any,
    run: Path,
    name: str,
    tensorboard: Path | None,
    mlflow: str | None,
    live_port: int | None = None,
) -> Any:
    """A listener that tells `screen` and those that are named, until the stack is left.

    Args:
        stack: of what ends when the run does.
        screen: shows the run.
        run: its folder.
        name: of the model, or of the party.
        tensorboard: a folder for TensorBoard.
        mlflow: the URI of an MLflow server.
        live_port: where the report is served; 0 for any port.
    """
    from vflc_runtime.run.watchers import MLflow, TensorBoard, told

    listeners = [screen]
    if tensorboard is not None:
        listeners.append(stack.enter_context(TensorBoard(tensorboard)))
    if mlflow is not None:
        listeners.append(stack.enter_context(MLflow(mlflow, run, f"vflc {name}", screen)))
    if live_port is not None:
        from vflc.report.live import LivePage

        page = stack.enter_context(LivePage([run], live_port, trains=True))
        screen.console.print(f"the report is at {page.url} while this runs", markup=False, soft_wrap=True)
        listeners.append(page)
    return told(*listeners)


def refit(command: Any) -> Any:
    """The option `--refit`."""
    return click.option(
        "--refit",
        is_flag=True,
        help="With --from RUN: fit all encoders anew, also those that RUN has fitted.",
    )(command)


def run_length(command: Any) -> Any:
    """The options `--epochs`, `--batch`, `--seed` and `--steps`, which commands that train have alike."""
    for name, least, help in (
        ("steps", 1, "Stop after this many steps in total."),
        ("seed", 0, "Seed of weights, row order and dropout."),
        ("batch", 1, "Rows per step."),
        ("epochs", 1, "Epochs in total, including those before --resume."),
    ):
        command = click.option(f"--{name}", type=click.IntRange(least), help=help)(command)
    return command


def threads(command: Any) -> Any:
    """The option `--threads`."""
    return click.option(
        "--threads",
        type=click.IntRange(1),
        help="Threads per operator; default: one per core, in training fewer where that is faster.",
    )(command)


def validation(command: Any) -> Any:
    """The options `--validation` and `--fold`: which rows are kept for validation."""
    fold = click.option(
        "--fold",
        type=click.IntRange(0),
        metavar="N",
        help="Which part of that size, counted from 0: 0 to 4 for a fifth.",
    )
    return click.option(
        "--validation", type=float, metavar="FRACTION", help="Keep this fraction of the rows for validation."
    )(fold(command))


def _stretch(context: click.Context, option: click.Parameter, value: str | None) -> RecordingLength | None:
    from vflc_runtime.run.transcript import RecordingLength

    try:
        return None if value is None else RecordingLength.of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def record(command: Any) -> Any:
    """The option `--record STEPS|EPOCHS`: how much of a run is kept for an audit."""
    return click.option(
        "--record",
        callback=_stretch,
        metavar="STEPS|Nepochs",
        help="Record what every party receives, for `vflc audit`: 200 steps, or 3epochs.",
    )(command)


def runs(folder: Path) -> Path:
    """Where a run of the bundle in a folder goes where nobody names one."""
    import json

    return Path("runs") / str(json.loads((folder / "manifest.json").read_bytes())["model"])


ELSEWHERE = {
    "threads": "does not apply to populations: users run together as arrays on one thread",
    "top": "is for populations only",
}
"""Of options that not all runs take: why a run refuses them."""


def refuse(options: Mapping[str, Any], why: str) -> None:
    """Ends the command where an option is given that has no meaning here."""
    for name, value in options.items():
        if value not in (None, False):
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")


def only(options: Mapping[str, Any], taken: Iterable[str]) -> None:
    """The same for each of `ELSEWHERE` that is not taken."""
    for name in options.keys() - set(taken):
        refuse({name: options[name]}, ELSEWHERE[name])
