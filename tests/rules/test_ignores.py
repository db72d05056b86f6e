"""Every check that is switched off says which one and why."""

import io
import re
import tokenize

NOQA = re.compile(
    r"#\s*(?:ruff:\s*)?noqa(?P<codes>:\s*[A-Z]+[0-9]+(?:\s*,\s*[A-Z]+[0-9]+)*)?(?P<reason>.*)", re.IGNORECASE
)
TYPE = re.compile(r"#\s*type:\s*ignore(?P<codes>\[[a-z0-9, -]+\])?(?P<reason>.*)")
PRAGMA = re.compile(r"#\s*pragma:\s*no cover(?P<codes>)(?P<reason>.*)")
SHORTEST_REASON = 6


def comments(module):
    """Yield (line, text) of the comments of a module."""
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def complaints(text):
    """Yield what is wrong with a comment that switches a check off."""
    for pattern in (NOQA, TYPE, PRAGMA):
        found = pattern.search(text)
        if not found:
            continue
        if found["codes"] is None:
            yield "names no code"
        reason = found["reason"].split("# type:")[0].split("# noqa")[0].strip(" -#:—")
        if len(reason) < SHORTEST_REASON:
            yield "gives no reason"


def test_every_ignore_has_a_code_and_a_reason(modules, test_modules):
    wrong = [
        f"{module.where}:{line}: {problem}: {text}"
        for module in [*modules, *test_modules]
        for line, text in comments(module)
        for problem in complaints(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_rule_that_is_off_for_all_has_a_reason(root):
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    lint = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pydocstyle]")]
    codes = [line for line in lint.splitlines() if re.match(r'\s*"[A-Z]+[0-9]*",', line)]
    wrong = [line for line in codes if not re.search(r"#\s\S.{5,}", line)]
    assert codes, "the list of rules was not found"
    assert not wrong, "\n".join(wrong)


def test_a_bare_ignore_is_found():
    assert list(complaints("# " + "noqa")) == ["names no code", "gives no reason"]
    assert list(complaints("# " + "noqa: S603")) == ["gives no reason"]
    assert list(complaints("# " + "type: ignore[arg-type]")) == ["gives no reason"]
    assert not list(complaints("# " + "noqa: S603  # the argv comes from local configuration"))
    assert not list(complaints("# an ordinary comment"))
