"""The documentation is what the code says: quotes, references, links, and a test of the name of every hook."""

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from engine import Clip, Ops, hookspecs

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_as_the_code_is(generate: ModuleType) -> None:
    pages = generate.pages()
    assert set(pages) == set(DOCS)
    stale = [str(page.relative_to(ROOT)) for page, text in pages.items() if page.read_text() != text]
    assert stale == [], "run: python docs/generate.py"


def test_a_quote_follows_its_file(generate: ModuleType) -> None:
    page = "a\n<!-- quoted: Makefile -->\n```make\nold\n```\n<!-- quoted: engine/errors.py:BadSample -->\n```python\n```\nz\n"
    made = generate.quoted(page)
    assert (ROOT / "Makefile").read_text().rstrip("\n") in made
    assert "```python\nclass BadSample(" in made
    assert "old" not in made
    assert generate.quoted(made) == made
    assert made.startswith("a\n")
    assert made.endswith("```\nz\n")


@pytest.mark.parametrize("page", ["write_a_loss", "write_a_dataset", "write_a_model", "write_a_backend"])
def test_a_page_is_made_of_real_files(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text()
    assert len(re.findall(r"^<!-- quoted: tests/plugins/", text, re.M)) >= 2


@pytest.mark.parametrize(
    "page", [*DOCS, ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S))
    assert [link for link in links if not (page.parent / link).exists()] == []


HOOKS = [name for name in vars(hookspecs) if name.startswith("engine_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test_of_its_name(hook: str) -> None:
    code = "\n".join(file.read_text() for file in sorted((ROOT / "tests").glob("test_*.py")))
    assert re.search(rf"^def test_\w*{hook}", code, re.M), f"no test is called test_{hook}"


DOCUMENTED = {
    "hooks": {name: item for name, item in vars(hookspecs).items() if name in HOOKS},
    "ops": {name: item for name, item in vars(Ops).items() if inspect.isfunction(item) and not name.startswith("_")},
    "clip": {name: item for name, item in vars(Clip).items() if inspect.isfunction(item) and not name.startswith("_")},
}


@pytest.mark.parametrize("page", DOCUMENTED)
def test_the_reference_has_every_signature_exactly(page: str) -> None:
    """What Python reads in the page is what stands in the code; made by no part of docs/generate.py."""
    text = (ROOT / f"docs/reference/{page}.md").read_text()
    blocks = re.findall(r"^```python\n(def .*?)\n```$", text, re.M | re.S)
    found: dict[str, object] = {}
    exec("from __future__ import annotations\n" + "\n".join(blocks), found)
    documented = {name: inspect.signature(item) for name, item in found.items() if inspect.isfunction(item)}
    assert documented == {name: inspect.signature(item) for name, item in DOCUMENTED[page].items()}
