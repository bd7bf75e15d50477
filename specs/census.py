"""Census Income (Becker & Kohavi, "Adult", UCI 1996, doi 10.24432/C5XW20) for the examples that use it.

One row is a person. Values are stripped of blanks; `?` is what the published files write for unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from common import Archive, Tables, Unusable, shuffled

NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
    "relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country",
    "income",
)  # fmt: skip
EDUCATIONS = (
    "Preschool", "1st-4th", "5th-6th", "7th-8th", "9th", "10th", "11th", "12th", "HS-grad", "Some-college",
    "Assoc-voc", "Assoc-acdm", "Bachelors", "Masters", "Prof-school", "Doctorate",
)  # fmt: skip
WORKCLASSES = (
    "Private", "Self-emp-not-inc", "Local-gov", "State-gov", "Self-emp-inc", "Federal-gov", "Without-pay",
    "?",
)  # fmt: skip
OCCUPATIONS = (
    "Prof-specialty", "Craft-repair", "Exec-managerial", "Adm-clerical", "Sales", "Other-service",
    "Machine-op-inspct", "Transport-moving", "Handlers-cleaners", "Farming-fishing", "Tech-support",
    "Protective-serv", "Priv-house-serv", "Armed-Forces", "?",
)  # fmt: skip
RACES = ("White", "Black", "Asian-Pac-Islander", "Amer-Indian-Eskimo", "Other")
COUNTRIES = ("United-States", "Mexico", "Philippines", "Germany", "Canada", "?")


def prepare(archive: Archive, parties: Mapping[str, Sequence[str]]) -> Tables:
    """The published training and test rows, each as a table a party: `alice` and `test/alice`."""
    train, test = _read(archive, "adult.data"), _read(archive, "adult.test")
    return _tables(train, test, parties)


def generate(rows: int, seed: int, parties: Mapping[str, Sequence[str]]) -> Tables:
    """Rows of the same form with a planted signal, and a quarter as many to test on."""
    random = np.random.default_rng([1994, seed])
    people = _people(random, rows + max(rows // 4, 1))
    return _tables(people.slice(0, rows), people.slice(rows), parties)


def _read(archive: Archive, name: str) -> pa.Table:
    lines = archive.read(name).decode("utf-8", "replace").splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("|"):  # the test file begins with a remark
            continue
        record = [field.strip() for field in line.split(",")]
        if len(record) != len(COLUMNS):
            raise Unusable(f"{name}, line {number}: {len(COLUMNS)} fields are expected: {line!r}")
        records.append(record)
    if not records:
        raise Unusable(f"{name} is empty")
    columns = dict(zip(COLUMNS, map(list, zip(*records, strict=True)), strict=True))
    columns["income"] = [value.rstrip(".") for value in columns["income"]]  # the test file writes `>50K.`
    try:
        return pa.table({n: list(map(int, v)) if n in NUMBERS else v for n, v in columns.items()})
    except ValueError as error:
        raise Unusable(f"{name}: a number is none: {error}") from None


def _tables(train: pa.Table, test: pa.Table, parties: Mapping[str, Sequence[str]]) -> Tables:
    """Each party's columns under a key of the person, in an order of its own."""
    tables, first = {}, 1
    for folder, rows in (("", train), ("test/", test)):
        keys = pa.array(np.arange(first, first + rows.num_rows))
        first += rows.num_rows
        for place, (party, columns) in enumerate(parties.items()):
            table = pa.table({"person": keys, **{name: rows[name] for name in columns}})
            tables[folder + party] = shuffled(table, place + 1)
    return tables


def _people(random: np.random.Generator, rows: int) -> pa.Table:
    """People whose marriage follows age, and whose income follows schooling, work, age and marriage."""
    age = np.clip(17 + random.gamma(2.2, 10, rows), 17, 90).astype(int)
    schooling = np.clip(np.rint(random.normal(10, 2.6, rows)), 1, 16).astype(int)
    sex = random.random(rows) < 0.67  # male
    hours = np.clip(np.rint(random.normal(40, 11, rows)), 1, 99).astype(int)
    occupation = random.integers(0, len(OCCUPATIONS), rows)
    workclass = random.integers(0, len(WORKCLASSES), rows)
    single = random.random(rows) < 1 / (1 + np.exp((age - 27) / 4.5))
    parted = ~single & (random.random(rows) < 0.25)
    married = ~single & ~parted
    other = random.choice(["Not-in-family", "Unmarried", "Other-relative"], rows, p=[0.65, 0.25, 0.1])
    at_home = single & (random.random(rows) < 1 / (1 + np.exp((age - 25) / 3)))
    relationship = np.where(married, np.where(sex, "Husband", "Wife"), np.where(at_home, "Own-child", other))
    gain = np.where(random.random(rows) < 0.08, np.rint(random.lognormal(8.6, 0.9, rows)), 0)
    loss = np.where(random.random(rows) < 0.05, np.rint(random.normal(1850, 350, rows).clip(200, 4300)), 0)
    levels = np.random.default_rng(1996).normal(0, 0.8, len(OCCUPATIONS))
    score = 0.35 * (schooling - 10) + 0.03 * (hours - 40) + 2.2 * married + levels[occupation]
    score += 0.03 * np.minimum(age - 38, 20) + 2.5 * (gain > 6000) + 1.0 * (loss > 1700) - 2.6
    rich = score + random.logistic(0, 1, rows) > 0
    status = np.where(single, "Never-married", np.where(married, "Married-civ-spouse", "Divorced"))
    return pa.table(
        {
            "age": age,
            "workclass": np.array(WORKCLASSES)[workclass],
            "fnlwgt": np.rint(random.lognormal(12, 0.5, rows)).astype(int),
            "education": np.array(EDUCATIONS)[schooling - 1],
            "education_num": schooling,
            "marital_status": status,
            "occupation": np.array(OCCUPATIONS)[occupation],
            "relationship": relationship,
            "race": random.choice(RACES, rows, p=[0.8, 0.1, 0.05, 0.03, 0.02]),
            "sex": np.where(sex, "Male", "Female"),
            "capital_gain": np.minimum(gain, 99999).astype(int),
            "capital_loss": loss.astype(int),
            "hours_per_week": hours,
            "native_country": random.choice(COUNTRIES, rows, p=[0.9, 0.03, 0.02, 0.02, 0.01, 0.02]),
            "income": np.where(rich, ">50K", "<=50K"),
        }
    )
