"""Writes `python.md`, the reference of `import vflc`, from its docstrings.

Run it as `python docs/make_python.py`; a test fails where the page is not what this makes, and another
runs the examples.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import vflc
from vflc.api.run import Audit
from vflc.api.tables import Table

PAGE = Path(__file__).parent / "python.md"
START = """# From Python

`docs/make_python.py` writes this page. Notebooks and programs can do everything that the command line does
with a spec and a run. They call the same code: a run has the same weights, whichever started it, and
`vflc.load` opens what `vflc train` saved. `import vflc` takes no time; heavy modules are imported when they
are used.

```python
import vflc

model = vflc.compile("model.vfl")            # made by `vflc init`, as the tables are
print(model.crossing)                        # a row for each value that crosses; a table in a notebook
print(model.learned)                         # who may learn what, at most
print(model.graph())                         # who computes what, as Mermaid text

data = {"bank": "data/bank.csv", "shop": "data/shop.csv"}
run = model.fit(data, epochs=2, validation=0.1, seed=0, out="run")
print(run.history)                           # loss and metrics by epoch
print(run.evaluate(data))                    # {"loss": …, "auc": …}
table = run.predict(data)                    # an Arrow table; .to_pandas() if pandas is installed
print(table.slice(0, 3), sorted(run.weights))

run = vflc.load("run").fit(data, epochs=4)   # continues the same run
run.export("models")                         # ONNX files, each compared with the trained model
```

**Tables** are given by party: pandas (2.2 or later) and polars frames, Arrow tables and any object that
gives an Arrow stream (such as DuckDB's relations), paths, globs, and queries (`SELECT …`).

```python
from pyarrow import csv

bank = csv.read_csv("data/bank.csv")         # or a frame
shop = "SELECT * FROM 'data/shop.csv'"
vflc.compile("model.vfl").fit({"bank": bank, "shop": shop}, epochs=1)
```

**A mistake** raises `vflc.Error`. It prints what the terminal prints, with code, place and help, and
`diagnostics` has the same as objects. An option that does not exist, or a table of an unknown kind, raises
`TypeError`.

```python
try:
    vflc.compile(open("model.vfl").read().replace("mlp(", "mlpp("))
except vflc.Error as error:
    print(error.code, error.diagnostics[0].message)
```

**During a run**, `on_event` is called with the events that the progress bar gets (`vflc_runtime.events`).
Ctrl-C ends the step, saves a checkpoint and raises `KeyboardInterrupt`; `vflc.load(…).fit(…)` continues from
there.

```python
from vflc_runtime.events import EpochEnded

def show(event):
    if isinstance(event, EpochEnded):
        print(event.epoch, event.train)

vflc.compile("model.vfl").fit(data, on_event=show)
```

**In a notebook**, tables, diagrams and curves are drawn, and a cell can be a spec: after `%load_ext vflc`,
`%%vfl model` compiles the cell, shows its findings, and binds the model to `model`. Both need
`pip install 'vflc[notebook]'`. [notebook.ipynb](notebook.ipynb) is a complete example.

**An audit** attacks what each party received ([audit.md](audit.md)). A run that did not record this is
trained again for it.

```python
run = vflc.compile("model.vfl").fit(data, record="1epochs")
print(run.audit(data, party="bank").scores)
```

Without `out`, a run is in a temporary folder, which is deleted with the last object that refers to it. What
its rows have cost in ε ([protection.md](protection.md)) is still added up in `runs/ledger`.

## Reference
"""
OBJECTS = {
    "vflc.compile": vflc.compile,
    "vflc.load": vflc.load,
    "vflc.Model": vflc.Model,
    "vflc.Run": vflc.Run,
    "Table": Table,
    "Audit": Audit,
    "vflc.Error": vflc.Error,
}


def page() -> str:
    """The whole page."""
    return START + "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    for name, found in OBJECTS.items():
        yield from ("", f"### `{name}`", "")
        if not inspect.isclass(found):
            yield from _call(name, found)
            continue
        yield from _text(found)
        for member, value in vars(found).items():
            if member.startswith("_"):
                continue
            if isinstance(value, property):
                yield from ("", f"**`.{member}`** {' '.join(_text(value.fget))}")
            elif inspect.isfunction(value):
                yield from ("", *_call(f".{member}", value))


def _call(name: str, function: Any) -> Iterator[str]:
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    shown = inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])
    yield from (f"**`{name}{shown}`**", "", *_text(function))


def _text(found: Any) -> Iterator[str]:
    """A docstring as Markdown: its sections become lists."""
    for line in (inspect.getdoc(found) or "").splitlines():
        if re.fullmatch(r"(Args|Attributes|Returns|Raises):", line):
            yield f"*{line.removesuffix(':')}*"
        elif item := re.fullmatch(r"    ([\w.]+): (.*)", line):
            yield f"- `{item[1]}`: {item[2]}"
        else:
            yield line.removeprefix("    ") if not line.startswith("        ") else f"  {line.strip()}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
