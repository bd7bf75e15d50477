"""Pages opened in Chromium: they are drawn, fit narrow and wide windows, and run no script of others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vflc.report.live import LivePage
from vflc.report.page import page
from vflc.report.shown import shown

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="there is no chromium to look at pages with"
)
MEASURE = """
<script nonce="test">
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(each => each.open = true);
  const all = what => [...document.querySelectorAll(what)];
  const box = each => each.getBoundingClientRect();
  const beyond = (text, figure) => box(text).left < box(figure).left || box(text).right > box(figure).right;
  const colours = each => getComputedStyle(each);
  const found = {
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    charts: all("figure > svg").filter(each => box(each).height > 100).length,
    outside: all("figure text").filter(each => beyond(each, each.closest("figure"))).length,
    unreadable: all("body *").filter(each => each.firstChild?.nodeType == 3
      && colours(each).color == colours(document.body).backgroundColor).length,
    ground: getComputedStyle(document.body).backgroundColor,
    title: document.title,
  };
  document.body.dataset.found = JSON.stringify(found);
});
</script>"""
"""Looks at the page from within; a report has no script, this one is the test's."""


def opened(address: str, folder: Path, *flags: str, wait: int = 0) -> str:
    """What the document is like once it is loaded."""
    assert CHROMIUM is not None, "install chromium, as .ci/run does"
    always = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    own = (f"--user-data-dir={folder / 'profile'}", *([f"--virtual-time-budget={wait}"] if wait else []))
    command = [CHROMIUM, *always, *own, *flags, "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("dark", [False, True], ids=["light-narrow", "dark-wide"])
def test_it_is_drawn(project: dict[str, Any], tmp_path: Path, dark: bool) -> None:
    run = shown(project["run"], "a run of " + "a long name " * 8)
    file = tmp_path / "page.html"
    file.write_text(page([run, run], MEASURE), "utf-8")
    flags = ["--window-size=1300,900" if dark else "--window-size=500,900"]
    flags += ["--blink-settings=preferredColorScheme=0"] if dark else []
    document = opened(file.as_uri(), tmp_path, *flags)
    found = json.loads(document.partition('data-found="')[2].partition('"')[0].replace("&quot;", '"'))
    assert found["wide"] <= 0 and found["charts"] == 8 and found["outside"] == found["unreadable"] == 0
    assert found["ground"] == ("rgb(18, 22, 29)" if dark else "rgb(255, 255, 255)")


def test_the_live_page_follows_and_nothing_else_runs(project: dict[str, Any], tmp_path: Path) -> None:
    hostile = tmp_path / "<img src=x onerror=document.title=1>"
    shutil.copytree(project["run"], hostile)
    with LivePage([hostile]) as live:
        answers: list[int] = []
        answer = live.answer
        live.answer = lambda path: (answers.append(1), answer(path))[1]  # type: ignore[method-assign]
        document = opened(live.url, tmp_path, wait=8000)
    assert len(answers) >= 2  # the browser came once, and its own script at least once more
    assert '<p id="live" role="status"></p>' in document  # and was answered
    assert "<title>Report on model</title>" in document and "&lt;img src=x" in document
