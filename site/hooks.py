"""What MkDocs does not know: pages that lie elsewhere in the repository, and links that lead out of docs/.

README's tutorial, the page of every code, and every example with its spec become pages of the site. A link to
one of these leads to its page; a link to another file of the repository becomes the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File
from pygments.lexers import LEXERS
from unbroken import unbroken  # MkDocs has this folder in the path while it reads its hooks
from vfl_lexer import VflLexer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PLAYGROUND = ROOT / "build" / "playground"
"""As `site/playground/build.py` makes it."""
CODES = PurePosixPath("vflc/diagnostics/pages")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_WORDS = re.compile(r"\A(```\w+)[^\n]*")
"""What follows the language of an example tells tests what to do with it."""
_STEP = re.compile(r"^\*\*([^*\n]+)\.\*\* ", re.MULTILINE)

LEXERS["VflLexer"] = (
    VflLexer.__module__,
    VflLexer.name,
    tuple(VflLexer.aliases),
    tuple(VflLexer.filenames),
    (),
)


def slug(text: str, separator: str) -> str:
    """As GitHub names headings, so that one link serves both."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", separator)


def on_config(config: Any) -> Any:
    examples = next(each["Examples"] for each in config["nav"] if "Examples" in each)
    config["mdx_configs"]["toc"]["slugify"] = slug
    examples[:] = [_page_of(path) for path in sorted((ROOT / "specs").rglob("README.md"))]
    return config


def on_files(files: Any, config: Any) -> Any:
    for source, uri, text in _elsewhere():
        made = File.generated(config, uri, content=_linked(text, source.parent, PurePosixPath(uri).parent))
        if uri.startswith("codes/"):
            made.inclusion = type(made.inclusion).NOT_IN_NAV
        files.append(made)
    for path in sorted(PLAYGROUND.rglob("*")):
        if path.is_file():
            uri = path.relative_to(PLAYGROUND.parent).as_posix()
            files.append(File(uri, str(PLAYGROUND.parent), config["site_dir"], use_directory_urls=False))
    return files


def on_page_markdown(text: str, page: Any, config: Any, files: Any) -> str:
    uri = PurePosixPath(page.file.src_uri)
    return text if page.file.generated_by else _linked(text, PurePosixPath("docs") / uri.parent, uri.parent)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    return unbroken(html)


def _elsewhere() -> Iterator[tuple[PurePosixPath, str, str]]:
    """Of each page from elsewhere its path in the repository, its path in the site, and its text."""
    for path in [*sorted((ROOT / CODES).glob("*.md")), *sorted((ROOT / "specs").rglob("README.md"))]:
        text = path.read_text("utf-8")
        for spec in sorted(path.parent.glob("*.vfl")):
            text += f"\n## {spec.name}\n\n```vfl\n{spec.read_text('utf-8')}```\n"
        yield PurePosixPath(path.relative_to(ROOT).as_posix()), _page_of(path), text
    readme = (ROOT / "README.md").read_text("utf-8")
    tutorial = readme[readme.index("## Tutorial") : readme.index("## Read on")]
    yield (
        PurePosixPath("README.md"),
        "tutorial.md",
        _STEP.sub(r"## \1\n\n", tutorial.replace("## T", "# T", 1)),
    )


def _page_of(path: Path) -> str:
    """Where a file of the repository lies in the site."""
    if path.name == "README.md":
        return f"examples/{'overview' if path.parent.name == 'specs' else path.parent.name}.md"
    return f"codes/{path.name}"


def _linked(text: str, source: PurePosixPath, site: PurePosixPath) -> str:
    """The text of a page with links that hold in the site. It lies in `source` of the repository."""

    def link(found: re.Match[str]) -> str:
        picture, said, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        path, _, anchor = target.partition("#")
        there = (ROOT / source / path).resolve()
        page = _in_site(there)
        if page is None:
            return said if said.startswith("`") else f"`{said}`"
        up = "../" * len(site.parts)
        if PurePosixPath(said).name == there.name or said == path.rstrip("/"):
            said = _title(there)
        return f"{picture}[{said}]({up}{page}{'#' + anchor if anchor else ''})"

    parts = _FENCE.split(text)
    return "".join(
        _WORDS.sub(r"\1", part) if part.startswith("```") else _LINK.sub(link, part) for part in parts
    )


def _title(path: Path) -> str:
    """What a page calls itself; of a spec, its name."""
    if path.is_dir():
        path = path / "README.md"
    if path.suffix != ".md":
        return path.name
    return (
        "Tutorial"
        if path == ROOT / "README.md"
        else path.read_text("utf-8").split("\n", 1)[0].removeprefix("# ")
    )


def _in_site(path: Path) -> str | None:
    """The page that shows a file of the repository; None where none does."""
    if path.is_relative_to(ROOT / "docs") and path.is_file():
        return path.relative_to(ROOT / "docs").as_posix()
    if path == ROOT / "README.md":
        return "tutorial.md"
    if path == HERE / "playground":
        return "playground/index.html"
    if path.suffix == ".md" and path.is_relative_to(ROOT / CODES):
        return f"codes/{path.name}"
    if path.is_relative_to(ROOT / "specs"):
        folder = path if path.is_dir() else path.parent
        if path.suffix in ("", ".md", ".vfl") and (folder / "README.md").is_file():
            return _page_of(folder / "README.md")
    return None
