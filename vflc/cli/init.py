"""`vflc init`: a small project that compiles and trains."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import click

from vflc.cli.options import NEW_FOLDER, json_output, print_json

TEMPLATE = ("model.vfl", "README.md")
MADE = {"spec": "model.vfl", "readme": "README.md", "bank": "data/bank.csv", "shop": "data/shop.csv"}
ROWS = 600


@click.command("init")
@click.argument("directory", type=NEW_FOLDER, default=Path())
@json_output
def command(directory: Path, as_json: bool) -> None:
    """Make a new project.

    DIRECTORY gets a spec that compiles, a README, and two small made-up tables that fit it.
    """
    from vflc_runtime.files import writing

    texts = {name: (files("vflc.cli") / "template" / name).read_text("utf-8") for name in TEMPLATE}
    taken = [name for name in (*TEMPLATE, "data") if (directory / name).exists()]
    if taken:
        raise click.ClickException(f"{directory} already has {taken[0]}; nothing was written")
    with writing(directory):
        (directory / "data").mkdir(parents=True)
        try:
            for name, text in texts.items():
                (directory / name).write_text(text, "utf-8")
            write_tables(directory / "data")
        except OSError:  # half a project would be in the way of the next try
            shutil.rmtree(directory / "data")
            for name in texts:
                (directory / name).unlink(missing_ok=True)
            raise
    if as_json:
        print_json({name: str(directory / file) for name, file in MADE.items()})
        return
    click.echo(
        f"made {directory / 'model.vfl'} and matching tables; {directory / 'README.md'} says how to continue"
    )


def write_tables(folder: Path) -> None:
    """Two tables of customers, in different orders, each lacking some of the other's."""
    draw = random.Random(0)
    bank, shop = [], []
    for customer in range(ROWS):
        age, visits = draw.randint(18, 80), draw.randint(0, 30)
        income = round(draw.lognormvariate(10, 0.5), 2)
        came_back = age / 40 + visits / 15 + draw.gauss(0, 0.5) > 2.2
        region = draw.choice(["north", "east", "south", "west", "abroad"])
        bank.append([customer, age, income if draw.random() < 0.95 else None, region])
        shop.append(
            [customer, f"P{draw.randint(1, 50)}", visits, round(draw.uniform(5, 90), 2) if came_back else 0]
        )
    draw.shuffle(shop)
    _write(folder / "bank.csv", ["customer", "Age", "Income", "Region"], bank[20:])
    _write(folder / "shop.csv", ["customer", "Product", "Visits", "Spent"], shop[20:])


def _write(path: Path, header: list[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
