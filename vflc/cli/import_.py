"""`vflc import`: a model that exists already, as a spec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from vflc.cli.options import json_output, print_json
from vflc.cli.outputs import check_output, force


def _owned(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]]:
    """`PARTY=COLUMN,…` by party."""
    found: dict[str, list[str]] = {}
    for value in values:
        party, _, columns = value.partition("=")
        names = [name.strip() for name in columns.split(",")]
        if not party.isidentifier() or not all(names):
            raise click.BadParameter(f"{value!r} is not PARTY=COLUMN,COLUMN, as in alice=UserID,Gender")
        found.setdefault(party, []).extend(names)
    return found


def _name(context: click.Context, option: click.Parameter, value: str) -> str:
    if not value.isidentifier():
        raise click.BadParameter(f"{value!r} is not the name of a column in a spec")
    return value


@click.command("import", short_help="Write a spec for a model of Keras or ONNX.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The spec to write.")
@click.option(
    "--owner",
    "owners",
    metavar="PARTY=INPUT,…",
    multiple=True,
    callback=_owned,
    help="The inputs of the model that are a party's columns; x{1..3} are columns of a vector x.",
)
@click.option(
    "--label",
    "labels",
    metavar="PARTY=COLUMN",
    multiple=True,
    callback=_owned,
    help="The column that the model predicts; of several outputs, one each, in their order.",
)
@click.option("--key", default="ID", show_default=True, callback=_name, help="The key column of each party.")
@click.option("--weights", is_flag=True, help="Also write the trained weights, for `vflc train --from`.")
@force
@json_output
def command(
    model: Path,
    out: Path,
    owners: dict[str, list[str]],
    labels: dict[str, list[str]],
    key: str,
    weights: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a spec for MODEL, a file that Keras 3 saved (`.keras`) or an ONNX file, as PyTorch exports them.

    The spec is written as if all columns lay in one table; the compiler splits it. It holds the grants that
    it needs: read them before you keep them. MODEL is read as data, and no code in it runs.
    """
    from vflc_runtime.files import replace_with

    from vflc.importing.run import import_model, weights_of

    beside = out.with_suffix(".safetensors")
    for file in (out, *[beside] * weights):
        check_output(file, force, [model])
    written = import_model(model, owners, labels, key, str(out))
    if weights:
        _write(beside, weights_of(model, written))
    replace_with(out, written.text.encode(), private=False)
    if as_json:
        print_json(
            {"spec": str(out), "weights": str(beside) if weights else None, "notes": list(written.notes)}
        )
        return
    if weights:
        click.echo(f"wrote {beside}: `vflc train {out} --from {beside}` starts from these weights")
    for note in written.notes:
        click.echo(f"note: {note}")
    click.echo(f"wrote {out}: `vflc compile {out} --explain` says how it is split")


def _write(path: Path, weights: Mapping[str, Any]) -> None:
    """Puts a file of weights in its place in one instant."""
    from vflc_runtime.files import write_tensors, writing

    new = path.with_name(f".{path.name}.new")
    with writing(path):
        try:
            write_tensors(new, weights, {})
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
