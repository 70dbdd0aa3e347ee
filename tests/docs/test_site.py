"""The docs as a site: `make docs` builds it, every link leads somewhere, and it fetches nothing from other hosts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.reading import PAGES


def build(folder: Path, output: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(output)]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_on_it(site: Path) -> None:
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    for page in PAGES:
        place = page.relative_to(ROOT).as_posix().removeprefix("docs/")
        if page.name == "README.md":
            place = place.replace("README.md", "index.md")
        assert place.lower().replace(".md", ".html") in built, place


def test_readme_is_its_home_page(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="api.html"' in home
    assert 'href="examples/own-bert/index.html"' in home
    assert 'src="images/cascade.svg"' in home
    assert (site / "images" / "cascade.svg").is_file()


def test_it_fetches_nothing_from_other_hosts(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"([^\"]+)", text)
        fetched += re.findall(r"<link[^>]* href=\"([^\"]+)", text)
        assert not [link for link in fetched if re.match(r"(https?:)?//", link)], page
        assert not re.search(r"<script[^>]*>[^<]*https?://[^<]*</script>", text), page


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for name in ("mkdocs.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "SECURITY.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "README.md").open("a", encoding="utf-8") as readme:
        readme.write("\n[a page](docs/absent.md) and [a heading](docs/api.md#absent)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "absent.md" in said
    assert "#absent" in said
