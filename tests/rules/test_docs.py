"""The documents hang together: links lead somewhere, pages are in the index, the glossary is whole."""

import re
import tomllib

import pytest

LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")


def without_code(text):
    """Return the text without code blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(path):
    """Return the anchors of a page's headings."""
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(plain.replace(" ", "-"))
    return found


def test_every_link_leads_somewhere(pages, root):
    wrong = []
    for page in pages:
        text = without_code(page.read_text(encoding="utf-8"))
        for target in LINK.findall(text) + IMAGE.findall(text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            aim = (page.parent / name).resolve() if name else page
            if not aim.exists():
                wrong.append(f"{page.relative_to(root)}: {target} does not exist")
            elif anchor and aim.suffix == ".md" and anchor not in anchors(aim):
                wrong.append(f"{page.relative_to(root)}: {target}: no such heading")
    assert not wrong, "\n".join(wrong)


def test_every_page_can_be_reached_from_the_index(root):
    docs = root / "docs"
    todo, seen = [docs / "index.md"], set()
    while todo:
        page = todo.pop()
        if page in seen or not page.exists() or page.suffix != ".md":
            continue
        seen.add(page)
        links = LINK.findall(without_code(page.read_text(encoding="utf-8")))
        todo += [
            (page.parent / link.partition("#")[0]).resolve() for link in links if not link.startswith("http")
        ]
    lost = sorted(
        path.relative_to(root).as_posix() for path in docs.rglob("*.md") if path.resolve() not in seen
    )
    assert not lost, f"no link leads to {lost}"


def test_every_page_begins_with_its_title(pages, root):
    wrong = [str(p.relative_to(root)) for p in pages if not p.read_text(encoding="utf-8").startswith("# ")]
    assert not wrong


@pytest.mark.parametrize("made", ["Date", "Author", "Status: draft", "lorem"])
def test_no_page_carries_ceremony(pages, made):
    assert not [
        page for page in pages if re.search(rf"^{made}\b", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def test_decisions_are_numbered_without_a_gap(root):
    names = sorted(path.name for path in (root / "docs/adr").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_every_decision_says_what_it_costs(root):
    wrong = [
        path.name
        for path in (root / "docs/adr").glob("[0-9]*.md")
        if not all(f"## {part}" in path.read_text(encoding="utf-8") for part in ("Decision", "Consequences"))
    ]
    assert not wrong


def test_the_readme_stands_in_its_order(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    order = ["# Popham", "## Try it", "## Is it for me?", "## Push and pull", "## Ports", "## Benchmarks"]
    order += ["## Documentation", "## Status"]
    places = [text.index(heading) for heading in order]
    assert places == sorted(places)


def test_the_readme_names_the_two_commands_that_ci_runs(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text
    assert re.search(r"^make test$", (root / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_target_of_the_makefile_has_help(root):
    text = (root / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert targets
    described = set(re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE))
    assert set(targets[1].split()) - {"clean"} <= described


def test_the_changelog_begins_with_this_version(root):
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.search(
        r'__version__ = "(.+)"', (root / "src/popham/__init__.py").read_text(encoding="utf-8")
    )
    first = re.search(r"^## v?(\d\S+)", text, re.MULTILINE)
    assert version
    assert first
    assert first[1] == version[1]


def test_the_licence_is_the_one_that_the_package_names(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (root / "LICENSE").read_text(encoding="utf-8")
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
