"""`vflc align`: which rows all parties have, of tables at hand or of tables on other machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from vflc_common.words import DEFAULT_ENGINE

from vflc.cli.options import RUN, SPEC, data, json_output
from vflc.cli.outputs import check_output, force

if TYPE_CHECKING:
    from vflc_runtime.data.overlap import Overlap


@click.command("align")
@click.argument("target", metavar="[SPEC|BUNDLE|NAME]", type=SPEC, required=False)
@click.argument("bundle", metavar="[BUNDLE]", type=RUN, required=False)
@partial(data, required=False)
@click.option(
    "--key",
    "keys",
    metavar="[PARTY=]COLUMN[,COLUMN]",
    multiple=True,
    help="The key's columns, if there is no spec.",
)
@click.option(
    "--deploy", type=click.Path(path_type=Path, dir_okay=False), help="The addresses of the other parties."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="With --deploy: a .csv or .parquet."
)
@force
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    help="Seconds to wait for a peer; default: as in deploy.toml.",
)
@click.option("--insecure", is_flag=True, help="Do not encrypt; only if all addresses are loopback.")
@json_output
def command(
    target: Path | None,
    bundle: Path | None,
    sources: dict[str, str],
    keys: Sequence[str],
    deploy: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the rows that all parties have.

    \b
    vflc align SPEC --data PARTY=SOURCE ...        tables at hand: what a run would join
    vflc align --key ID --data PARTY=SOURCE ...    the same without a spec
    vflc align NAME BUNDLE --deploy deploy.toml    with the others, each in its own process

    For tables at hand it counts the rows that all have, those that would be left out, and keys that
    are missing or there twice; exit code 1 where a run would stop. Between processes, -o writes the
    party's own rows in the order that all have.
    """
    if deploy is not None:
        if target is None or bundle is None or keys:
            raise click.UsageError("--deploy needs NAME BUNDLE: vflc align NAME BUNDLE --deploy deploy.toml")
        _between_processes(str(target), bundle, sources, deploy, as_json, options)
        return
    given = [f"--{name}" for name, value in options.items() if value]
    if bundle is not None or given:
        raise click.UsageError(f"{' and '.join(given) or 'NAME BUNDLE'} needs --deploy deploy.toml")
    if not sources:
        raise click.UsageError("give the tables with --data PARTY=SOURCE, or --deploy deploy.toml")
    from vflc_runtime.data.overlap import overlap

    with ExitStack() as stack:
        found = overlap(_parties(stack, target, sources, keys), sources)
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2))
    else:
        _show(found)
    if found.problem is not None:
        raise found.problem


def _between_processes(
    name: str, bundle: Path, sources: dict[str, str], file: Path, as_json: bool, options: dict[str, Any]
) -> None:
    from dataclasses import replace

    from vflc_runtime.bundle.manifest import read_manifest
    from vflc_runtime.errors import Failure
    from vflc_runtime.party.align import align_party
    from vflc_runtime.party.connect import connector
    from vflc_runtime.party.deploy import read_deploy
    from vflc_runtime.party.site import Site

    from vflc.cli.progress import Screen

    places = read_manifest(bundle / "manifest.json").places
    if name not in places:
        raise Failure("VFL0618", f"there is no party {name!r} in {bundle}", f"it has {', '.join(places)}")
    if set(sources) - {name}:
        raise click.UsageError(f"--data must be for {name}: each party gives only its own table")
    deploy = read_deploy(file, name, places)
    deploy = replace(deploy, timeout=options["timeout"] or deploy.timeout)
    check_output(options["out"], options["force"], [sources.get(name, deploy.data)])
    with ExitStack() as stack:
        listen = stack.enter_context(Screen(as_json))
        kept = Path("runs") / f".{name}.align"  # where `vflc party` keeps and finds it
        site = Site(
            place=name,
            source=sources.get(name, deploy.data),
            connect=connector(deploy, options["insecure"]),
            method=deploy.method,
            align=deploy.align_settings(kept),
            engine=DEFAULT_ENGINE,
            threads=None,
            listen=listen,
        )
        found = align_party(bundle, site, options["out"])
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if "missing" in found:
        click.echo(f"{found['kept']:,} of {found['rows']:,} rows of {name} take part")
        for party, lacked in found["missing"].items():
            click.echo(f"{party} lacks {lacked:,} of {found['keys']:,} keys")
    else:
        others = " and ".join(found["peers"])
        click.echo(f"{found['kept']:,} of {found['rows']:,} rows of {name} are also at {others}")
    if options["out"]:
        click.echo(f"wrote {options['out']}")


def _parties(
    stack: ExitStack, target: Path | None, sources: Mapping[str, str], keys: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Of each party its key, from the spec or from the command line."""
    if target is None:
        return {party: {"key": columns} for party, columns in _named(sources, keys).items()}
    if keys:
        raise click.UsageError("--key is for tables without a spec; a spec names its own keys")
    from vflc_runtime.bundle.folder import open_any
    from vflc_runtime.data.dataset import check_parties
    from vflc_runtime.run.loading import encoders

    from vflc.cli.train import bundle_of

    folder = stack.enter_context(bundle_of(target, None, DEFAULT_ENGINE))
    parties: dict[str, dict[str, Any]] = encoders(open_any(folder))["parties"]
    if len(parties) == 1:
        raise click.UsageError(f"only {next(iter(parties))} has a table: there is nothing to align")
    check_parties(parties, sources)
    return parties


def _named(sources: Mapping[str, str], keys: Sequence[str]) -> dict[str, list[str]]:
    """The key columns of each party: its own where they are named, otherwise those for all."""
    named: dict[str, list[str]] = {}
    for value in keys:
        party, equals, columns = value.rpartition("=")
        if not all(columns.split(",")) or (equals and party not in sources):
            raise click.UsageError(f"--key {value} names a party without --data")
        if party in named:
            raise click.UsageError(f"--key is given twice for {party or 'all'}")
        named[party] = columns.split(",")
    missing = [party for party in sources if party not in named and "" not in named]
    if missing:
        raise click.UsageError(
            f"which column is the key of {', '.join(missing)}? Name a SPEC, or give --key COLUMN"
        )
    found = {party: named.get(party) or named[""] for party in sources}
    if len({len(columns) for columns in found.values()}) > 1:
        raise click.UsageError("the keys have different numbers of columns")
    return found


def _plain(found: Overlap) -> dict[str, Any]:
    return {
        "parties": {
            party: {**asdict(counts), "dropped": counts.dropped} for party, counts in found.parties.items()
        },
        "common": found.common,
        "nearly": found.nearly,
        "problem": found.problem and found.problem.code,
    }


def _show(found: Overlap) -> None:
    from rich import box
    from rich.table import Table

    from vflc.cli.tables import console, show

    table = Table(title="Keys", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("party", "rows", "without key", "key twice", "kept", "dropped"):
        table.add_column(header, justify="left" if header == "party" else "right")
    for party, counts in found.parties.items():
        numbers = (counts.rows, counts.blank, counts.doubled, counts.kept, counts.dropped)
        table.add_row(party, *(f"{number:,}" for number in numbers))
    show(console(), table)
    click.echo(f"\nkeys that all parties have: {found.common:,}")
    for how, count in found.nearly.items():
        click.echo(f"keys that would also match if compared {how}: {count:,}")
