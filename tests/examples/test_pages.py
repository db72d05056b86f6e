"""The snippets of the pages are read by the program that they are for."""

import re
from pathlib import Path

import pytest

from popham.agent.settings import load_settings
from popham.model.definition import SourceFile, check
from popham.proxy.settings import load_settings as load_proxy

DOCS = Path(__file__).parents[2] / "docs"


def snippets(language, pages=DOCS):
    """Return (page:line, text) of the code blocks of a language."""
    found = []
    for page in sorted(pages.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: block.start()].count("\n") + 2
            found.append((f"{page.relative_to(DOCS)}:{line}", block[1]))
    return found


DEFINITIONS = [(where, text) for where, text in snippets("yaml") if "apiVersion:" in text]


@pytest.mark.parametrize(("where", "text"), DEFINITIONS, ids=[where for where, _ in DEFINITIONS])
def test_every_definition_on_a_page_is_accepted(where, text):
    found = check([SourceFile(name=where, text=text)])
    assert found.groups or found.policies or found.placements or found.agents or found.proxies


def test_there_are_definitions_on_the_page_about_them():
    assert [where for where, _ in DEFINITIONS if where.startswith("reference/definitions.md")]


def test_the_agents_configuration_on_its_page_is_read(tmp_path):
    path = tmp_path / "agent.toml"
    blocks = [
        text for where, text in snippets("toml") if where.startswith("reference/agent-configuration.md")
    ]
    path.write_text(blocks[0], encoding="utf-8")
    assert load_settings(path, env={}).files.roots == ("/etc/popham.d",)


def test_the_proxys_configuration_on_its_page_is_read(tmp_path):
    path = tmp_path / "proxy.toml"
    (block,) = [
        text for where, text in snippets("toml") if where.startswith("reference/proxy-configuration.md")
    ]
    path.write_text(block, encoding="utf-8")
    assert load_proxy(path, env={}).address.port == 4320
