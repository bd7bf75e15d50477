"""`vflc export`: trained models as ONNX or Keras files, and what makes their inputs of raw rows."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click
from vflc_common.words import DEFAULT_ENGINE

from vflc.cli.options import NEW_FOLDER, RUN, SPEC, data, json_output


@click.command("export", short_help="Write the models of a run as ONNX or Keras files.")
@click.argument("run", type=RUN)
@click.option("--format", type=click.Choice(["onnx", "keras"]), default="onnx", show_default=True)
@click.option("--merged", is_flag=True, help="One model of all parties, for whoever may hold all parts.")
@click.option(
    "-o",
    "--out",
    type=NEW_FOLDER,
    required=True,
    help="An empty or new folder.",
)
@partial(data, required=False, otherwise=" To compare on; generated rows without.")
@click.option(
    "--spec", type=SPEC, help="The run's spec, for --format keras if the run was compiled without Keras."
)
@json_output
def command(
    run: Path,
    format: str,
    merged: bool,
    out: Path,
    sources: dict[str, str],
    spec: Path | None,
    as_json: bool,
) -> None:
    """Write the models of RUN for prediction, and encode.py, which makes their inputs of raw rows.

    Every file is loaded again and compared with the trained model, on rows of --data or on
    generated ones that fit the spec.
    """
    from vflc_runtime.export.run import export, report

    if spec is not None and format == "keras":
        _add_keras(run, spec)
    exported = export(run, out, format, merged, sources or None)
    if as_json:
        click.echo(report(exported))
        return
    for name, model in exported.models.items():
        click.echo(
            f"wrote {out / name} of {exported.which}: at most {model.difference:.2g} from the trained model"
        )
        for column, why in model.not_expressed.items():
            click.echo(f"  {column}: {why}")
    if merged:
        _warn_of_whole(run)


def _warn_of_whole(run: Path) -> None:
    """What a merged model gives to whoever gets it."""
    from vflc_runtime.run.state import RunFolder

    from vflc.cli import failures
    from vflc.diagnostics import Diagnostic

    parties = RunFolder(run).bundle(DEFAULT_ENGINE).manifest.parties
    if len(parties) > 1:
        message = f"the merged model holds the parts of {', '.join(parties)}, including the end of the model"
        help = "give it only to someone who may hold all parts; without --merged, each party has its own file"
        failures.show([Diagnostic("VFL0325", message, None, help, level="warning")])


def _add_keras(run: Path, spec: Path) -> None:
    """Compiles the spec for a run that lacks the Keras plans; VFL0625 where it is another spec."""
    from vflc_runtime.bundle.folder import add_keras
    from vflc_runtime.errors import Failure
    from vflc_runtime.run.state import RunFolder
    from vflc_runtime.scratch import scratch_folder

    from vflc import driver

    bundle = RunFolder(run).path / "bundle"
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    compiled = driver.compile_spec(spec, precision=manifest["precision"], backends=("keras",))
    if compiled.manifest["digest"] != manifest["digest"]:
        raise Failure(
            "VFL0625", f"{run} was not trained from {spec}", "name the spec as it was when the run started"
        )
    with scratch_folder() as folder:
        compiled.write(folder / "bundle")
        add_keras(bundle, folder / "bundle")
