"""A report as one page of HTML that loads nothing: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from vflc_runtime.audit.report import LEVELS, MEANING, AttackScore, Report, heads, worst, worst_first

_STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --text: #1c2330; --soft: #5b6475; --line: #dfe3ea;
  --card: #f6f8fb; --recovered: #b3261e; --leaks: #b45309; --hints: #946800; --quiet: #2e7d4f }
@media (prefers-color-scheme: dark) { :root { --ground: #12161d; --text: #e6e9ef; --soft: #9aa4b5;
  --line: #2b3340; --card: #1a202a; --recovered: #ff8a80; --leaks: #ffb35c; --hints: #e7c35a; --quiet: #79c99a
  } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 76rem; background: var(--ground);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.7rem; margin: 0 0 .2rem } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem }
p { margin: .4rem 0; max-width: 62rem } .soft { color: var(--soft) }
code { font: .88em ui-monospace, monospace; overflow-wrap: anywhere }
.banner { border-left: .4rem solid; background: var(--card); padding: .8rem 1.1rem; margin: 1.4rem 0 }
.banner b { font-size: 1.1rem }
.recovered { color: var(--recovered) } .leaks { color: var(--leaks) }
.hints { color: var(--hints) } .quiet { color: var(--quiet) }
.banner { border-color: currentColor } .banner p { color: var(--text) } .banner p.soft { color: var(--soft) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .35rem .7rem .35rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--soft); font-weight: 600; font-size: .85rem; white-space: nowrap }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.meter { position: relative; display: block; width: 9rem; height: .55rem; margin-top: .45rem;
  background: var(--line); border-radius: .3rem }
.meter i { position: absolute; inset: 0 auto 0 0; background: currentColor; border-radius: .3rem }
.meter u { position: absolute; top: -.2rem; bottom: -.2rem; width: 2px; background: var(--text) }
details { margin: .6rem 0 } summary { cursor: pointer; color: var(--soft) }
ul { padding-left: 1.2rem }
@media print { body { max-width: none } details { display: block } }
"""

_READING = """
<p>An attack on a label scores the <b>AUC</b>: how often it puts a row that has the label above one that has
not. 0.5 is guessing, 1 is every row. It is measured in each batch; <b>95 %</b> is what only one batch in
twenty exceeds, as in the literature, since a label that leaks in one batch has leaked. <b>Chance</b> is what
the same attack reaches against shuffled labels, or, for model completion, without the trained bottom: only
what is beyond it came from the messages. <b>Purity</b> and <b>accuracy</b> are shares of rows.</p>
<p>An attack on a feature scores the <b>error</b> left over, as a part of that of always guessing the mean:
0 is exact, 1 is nothing learned.</p>
<p>An audit shows what these attacks find. It does not show that there is no better one.</p>
"""


def _runs(report: Report) -> str:
    return f", and {report.runs - 1} more run{'s' * (report.runs > 2)}" if report.runs > 1 else ""


def page(report: Report) -> str:
    """The whole document."""
    title = f"Audit of {report.model}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{report.rows:,} rows · {report.steps:,} steps of {report.batch:,} rows recorded'
        f"{_runs(report)} · digest <code>{escape(report.digest)}</code></p>",
        _task(report.task),
        _banner(report),
        "<h2>What each party learns</h2>",
        _summary(report.scores),
        "<h2>Bounds put to the test</h2>",
        _trials(report),
        "<h2>The attacks</h2>",
        _scores(heads(report.scores)),
        "<details><summary>Every attack on every edge</summary>",
        _scores(worst_first(report.scores)),
        "</details>",
        "<h2>What crosses</h2>",
        _edges(report),
        "<h2>How to read this</h2>",
        _READING,
        "<h2>Whom the attacks follow</h2>",
        _papers(report.scores),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _banner(report: Report) -> str:
    level = report.worst
    found = {(score.party, score.secret) for score in report.scores if score.level == level}
    words = "; ".join(f"{party} after {secret}" for party, secret in sorted(found)) or "nothing was attacked"
    return (
        f'<div class="banner {level}"><b>{level.capitalize()}</b><p>{escape(MEANING[level])}</p>'
        f'<p class="soft">{escape(words)}</p></div>'
    )


def _task(task: dict[str, Any]) -> str:
    said = [
        f"{escape(rows)} {escape(name)} {value:.4f}"
        for rows, scores in task.items()
        for name, value in scores.items()
        if isinstance(value, float)
    ]
    return f'<p class="soft">The model as trained: {" · ".join(said)}</p>' if said else ""


def _summary(scores: Iterable[AttackScore]) -> str:
    """The worst of each party and secret, in words."""
    rows = []
    for score in worst(scores):
        rows.append([
            _level(score), escape(score.verdict), escape(score.bound),
            _spec(score.advice or "nothing is needed"),
        ])  # fmt: skip
    return _table(["", "verdict", "may learn at most", "what helps"], rows)


def _trials(report: Report) -> str:
    """Bounds that guesses can refute, with the attack that went farthest on cells drawn afresh."""
    if not report.trials:
        said = (
            "No bound was put to the test: none of them can be refuted by guesses, or it was not asked for."
        )
        return f'<p class="soft">{said}</p>'
    rows = [
        [
            escape(each.party), f"<code>{escape(each.secret)}</code>", escape(each.bound),
            f"{escape(each.attack)} at <code>{escape(each.channel)}</code>",
            f"{each.right:,} of {each.count:,}", f"{each.most:.1%}", f"{each.p:.2g}",
            '<b class="recovered">refuted</b>' if each.refuted else "holds",
        ]
        for each in report.trials
    ]  # fmt: skip
    return _table(["party", "after", "may learn at most", "attack", "right|n", "at most|n", "p|n", ""], rows)


def _scores(scores: Iterable[AttackScore]) -> str:
    rows = []
    for score in scores:
        details = "".join(
            f'<br><span class="soft">{escape(name)} {value:.3g}</span>'
            for name, value in score.details.items()
        )
        knows = f'<br><span class="soft">knows {escape(score.knows)}</span>' if score.knows else ""
        rows.append([
            escape(score.party),
            f"<code>{escape(score.secret)}</code>",
            f"{escape(score.attack)}: {escape(score.title)}{knows}",
            f"<code>{escape(score.channel)}</code><br>"
            f'<span class="soft">{"sent" if score.sent else escape(score.phase)}</span>',
            escape(score.measure) + details,
            *(f"{value:.3f}" for value in (score.score, score.quantile, score.chance)),
            _level(score) + _meter(score),
        ])  # fmt: skip
    return _table(
        ["party", "after", "attack", "looks at", "measure", "score|n", "95 %|n", "chance|n", ""], rows
    )


def _meter(score: AttackScore) -> str:
    """How far a score is on the way from nothing to everything, with a mark at chance."""
    nothing = {"auc": 0.5, "error": 1.0}.get(score.measure, 0.0)
    everything = 0.0 if score.measure == "error" else 1.0
    far, mark = (
        max(0.0, min(1.0, (value - nothing) / (everything - nothing))) * 100
        for value in (score.quantile, score.chance)
    )
    bar = f'<i style="width:{far:.1f}%"></i><u style="left:{mark:.1f}%"></u>'
    return f'<span class="meter {score.level}">{bar}</span>'


def _edges(report: Report) -> str:
    rows = []
    for edge in report.edges:
        told = [
            f"{title} {', '.join(_name(each) for each in edge.get(key, ()))}"
            for key, title in (
                ("protections", "protected by"),
                ("findings", "found"),
                ("accepted", "accepted"),
            )
            if edge.get(key)
        ]
        passed = report.passed.get(edge["id"])
        told += [f"not attacked: {passed}"] if passed else []
        rows.append([
            f"<code>{escape(edge['id'])}</code>", f"{escape(edge['from'])} → {escape(edge['to'])}",
            escape(edge["phase"]), escape(", ".join(edge.get("depends_on", ()))),
            escape("; ".join(told)) or '<span class="soft">unprotected</span>',
        ])  # fmt: skip
    return _table(["edge", "from → to", "phase", "depends on", ""], rows)


def _name(entry: Any) -> str:
    """A protection, finding or waiver as the manifest has it, in short."""
    if not isinstance(entry, dict):
        return str(entry)
    return str(next((entry[key] for key in ("mechanism", "code", "id") if key in entry), entry))


def _papers(scores: Iterable[AttackScore]) -> str:
    follows: dict[str, list[str]] = {}
    for score in scores:
        attacks = follows.setdefault(score.paper, [])
        if score.attack not in attacks:
            attacks.append(score.attack)
    items = (f"<li>{escape(', '.join(names))}: {escape(paper)}</li>" for paper, names in follows.items())
    return f"<ul>{''.join(items)}</ul>"


def _level(score: AttackScore) -> str:
    assert score.level in LEVELS
    return f'<b class="{score.level}">{score.level}</b>'


def _spec(text: str) -> str:
    """Text with parts of a spec between backquotes."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _table(headers: list[str], rows: list[list[str]]) -> str:
    """A table of HTML; a header that ends in `|n` is of numbers."""
    kinds = [header.partition("|")[2] for header in headers]
    head = "".join(
        f'<th class="{kind}">{escape(header.partition("|")[0])}</th>'
        for header, kind in zip(headers, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{cell}</td>' for cell, kind in zip(row, kinds, strict=True))
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}</table></div>'
