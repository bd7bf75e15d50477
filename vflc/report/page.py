"""The whole page: one file that loads nothing, without a script unless it is served while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vflc.report.crossing import crossing
from vflc.report.data import data, drift
from vflc.report.elements import Html, folded, joined, section, tag
from vflc.report.learned import audit, learned, protections
from vflc.report.made import made
from vflc.report.quality import quality
from vflc.report.results import results
from vflc.report.shown import ShownRun
from vflc.report.style import STYLE

OF_EACH: dict[str, tuple[str, Callable[[ShownRun], Html]]] = {
    "crossing": ("What crosses", crossing),
    "learned": ("Who may learn what", learned),
    "protections": ("Protections", protections),
    "audit": ("Audit", audit),
    "data": ("Data", data),
    "drift": ("Drift", drift),
    "made": ("Settings, environment, digests", made),
}
"""The sections that have a part for each run, by their ids."""
OF_MODEL = {"learned"}
"""Those that are of the bundle: told once of runs of the same."""


def page(runs: Sequence[ShownRun], script: str = "") -> str:
    """The document.

    Args:
        runs: one, or several that are compared.
        script: JavaScript of our own that keeps a page up to date that is served; none in a file.
    """
    models = list(dict.fromkeys(run.manifest.model for run in runs))
    title = f"Report on {', '.join(models[:3])}{' and others' if models[3:] else ''}"
    parts = {"results": ("Results", results(runs)), "quality": ("Predictions and labels", quality(runs))}
    for id, (name, make) in OF_EACH.items():
        parts[id] = name, section(id, name, _of_each(runs, make, id in OF_MODEL))
    links = [tag("li", tag("a", name, href=f"#{id}")) for id, (name, found) in parts.items() if found]
    body = [
        tag(
            "header",
            tag("h1", title),
            tag("p", _about(runs), class_="soft"),
            tag("p", _who(runs), class_="who"),
        ),
        tag("nav", tag("ul", *links), aria_label="Sections"),
        tag("main", *(found for _, found in parts.values())),
        tag("footer", "Made by vflc. This page loads nothing from anywhere."),
    ]
    return _document(title, joined(body), script)


def _document(title: str, body: Html, script: str) -> str:
    """Whatever might be in the body: a browser loads and runs nothing that the policy does not name."""
    allowed = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    policy = (
        Html("") if script else Html(f'<meta http-equiv="Content-Security-Policy" content="{allowed}">\n')
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"{policy}"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{tag('title', title)}\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n{script}</body>\n</html>\n"
    )


def _about(runs: Sequence[ShownRun]) -> str:
    names = ", ".join(run.name for run in runs)
    digests = list(dict.fromkeys(run.manifest.digest[:12] for run in runs))
    return f"{names} · {'digests' if len(digests) > 1 else 'digest'} {', '.join(digests)}"


def _who(runs: Sequence[ShownRun]) -> str:
    """Whose knowledge the page holds, so that nobody hands it on by mistake."""
    if all(run.places is not None for run in runs):
        own = ", ".join(dict.fromkeys(place for run in runs for place in run.own))
        return f"This page holds what {own} knows of the run, and nothing that another party knows alone."
    return (
        "This run was made in one process: the page holds what all its parties know together. A run between "
        "machines gives each party a page of what that party knows."
    )


def _of_each(runs: Sequence[ShownRun], make: Callable[[ShownRun], Html], of_model: bool) -> Html:
    """A part for each run, under its name where there are several."""
    if len(runs) == 1:
        return make(runs[0])
    if of_model and len({run.manifest.digest for run in runs}) == 1:
        return make(runs[0])
    return joined(folded(tag("b", run.name), make(run), open=at == 0) for at, run in enumerate(runs))
