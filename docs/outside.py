"""MkDocs hook: pages that lie outside docs (README.md, examples, ...) join the site, and links between all work.

One source for both readers: in the repository README.md links to docs/api.md, on the site the same link leads to
api.html. A link to a file that is not on the site stays as it is, and `mkdocs build --strict` fails on it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(\]\()([^)\s:#]+)(#[^)\s]*)?(\))")


def outside() -> dict[str, str]:
    """Paths in the repository -> paths on the site."""
    examples = {
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).with_name("index.md").as_posix()
        for path in sorted((ROOT / "examples").rglob("README.md"))
    }
    return {
        "README.md": "index.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "LICENSE": "license.md",
        "SECURITY.md": "security.md",
        **examples,
    }


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs."""
    for source, target in outside().items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source == "LICENSE":
            text = f"# License\n\n```\n{text}```\n"
        files.append(File.generated(config, target, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links by paths of the repository into links by paths of the site."""
    to_site = outside()
    to_repository = {target: source for source, target in to_site.items()}
    here = page.file.src_uri
    source = to_repository.get(here, f"docs/{here}")

    def moved(match: re.Match[str]) -> str:
        opening, link, anchor, closing = match.groups(default="")
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        target = to_site.get(wanted) or wanted.removeprefix("docs/")
        if wanted == target:  # neither in docs nor brought in
            return match[0]
        return f"{opening}{posixpath.relpath(target, posixpath.dirname(here) or '.')}{anchor}{closing}"

    return LINK.sub(moved, markdown)
