"""The codes of errors in the source and the codes of ``docs/reference/errors.md`` are the same.

Rules:

1. A reason is written as a literal where the error is made, so that it can be found.
2. A function may hand its caller's reason on; the literal then stands in the call of that function.
3. A code that no page explains, or that nothing raises any more, is a failure.
"""

import ast
import re
from dataclasses import dataclass

import pytest

from popham import errors

AREAS = {
    name: kind.area
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.PophamError) and kind is not errors.PophamError
}
EXCEPTIONS: dict[str, str] = {
    "src/popham/trust/birth.py:read_refusal": "the Manager's answer names the code, and it stands in its own source",
    "src/popham/upstream/replies.py:refusal_of": "the agent's answer names the code, and it stands in its own source",
    "src/popham/client/problems.py:_definition_error": "the Manager's answer names the code, and it stands in its own source",
}
"""``file:function`` → why its reason comes from elsewhere, such as another end's answer."""
ROW = re.compile(r"^\|\s*`(?P<code>[a-z_]+\.[a-z0-9_]+)`\s*\|(?P<rest>.*)\|\s*$")


def named(node):
    """Return the last part of ``a.b.C``."""
    return getattr(node, "attr", getattr(node, "id", ""))


def families(modules):
    """Return class name → area, of the families and of every class derived from one of them."""
    found = dict(AREAS)
    classes = [(n, m) for m in modules for n in ast.walk(m.tree) if isinstance(n, ast.ClassDef)]
    for _ in range(3):
        for node, _module in classes:
            bases = [named(base) for base in node.bases if named(base) in found]
            if bases and node.name not in found and takes_reason(node):
                own = [
                    step.value.value
                    for step in node.body
                    if isinstance(step, (ast.Assign, ast.AnnAssign)) and isinstance(step.value, ast.Constant)
                    for target in (step.targets if isinstance(step, ast.Assign) else [step.target])
                    if named(target) == "area"
                ]
                found[node.name] = own[0] if own else found[bases[0]]
    return found


def takes_reason(node):
    """Return whether a class is made with a reason first, as the families are."""
    init = next((step for step in node.body if getattr(step, "name", "") == "__init__"), None)
    return init is None or [argument.arg for argument in init.args.args][1:2] == ["reason"]


def literals(node):
    """Return every literal that the expression may be; None if it may be something else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        both = [literals(node.body), literals(node.orelse)]
        return None if None in both else both[0] + both[1]
    return None


@dataclass(frozen=True)
class Passer:
    """A function that makes an error of ``area`` with the reason that its caller gives."""

    name: str
    module: str
    area: str
    parameter: str
    place: int

    def reason_in(self, call):
        given = next((k.value for k in call.keywords if k.arg == self.parameter), None)
        return given or (call.args[self.place] if len(call.args) > self.place else None)

    def is_meant(self, call, module):
        private = self.name.startswith("_")
        logs = named(getattr(call.func, "value", None)) in {"log", "logger", "logging"}
        return named(call.func) == self.name and not logs and (not private or module.where == self.module)


def calls(module):
    """Yield (call, enclosing functions from the outside in, enclosing class)."""

    def walk(node, functions, owner):
        for child in ast.iter_child_nodes(node):
            inside, of = functions, owner
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inside = [*functions, child]
            if isinstance(child, ast.ClassDef):
                of = child.name
            if isinstance(child, ast.Call):
                yield child, inside, of
            yield from walk(child, inside, of)

    yield from walk(module.tree, [], "")


def made(call, owner, known):
    """Return (area, reason) if the call makes an error."""
    area = known.get(named(call.func))
    if isinstance(call.func, ast.Attribute) and call.func.attr == "__init__" and owner in known:
        area = known[owner] if named(getattr(call.func.value, "func", None)) == "super" else None
    if not area or not (call.args or call.keywords):
        return None
    given = next((k.value for k in call.keywords if k.arg == "reason"), None)
    return area, given or (call.args[0] if call.args else None)


def passer(reason, functions, module, area):
    """Return the function that hands its caller's reason on; None if none does."""
    for function in reversed(functions):
        arguments = [
            a.arg for a in [*function.args.posonlyargs, *function.args.args] if a.arg not in {"self", "cls"}
        ]
        arguments += [a.arg for a in function.args.kwonlyargs]
        if isinstance(reason, ast.Name) and reason.id in arguments:
            return Passer(function.name, module.where, area, reason.id, arguments.index(reason.id))
    return None


@pytest.fixture(scope="module")
def raised(modules):
    """Code → place, and the complaints about reasons that cannot be read."""
    known = families(modules)
    all_calls = [(module, *found) for module in modules for found in calls(module)]
    codes: dict[str, str] = {}
    wrong: list[str] = []
    found = [
        (module, call, functions, making)
        for module, call, functions, owner in all_calls
        if module.name != "popham.errors" and (making := made(call, owner, known))
    ]
    handed: set[Passer] = set()
    while found:
        fresh: set[Passer] = set()
        for module, call, functions, (area, reason) in found:
            read = literals(reason)
            if read is not None:
                place = f"{module.where}:{call.lineno}: {ast.unparse(call)[:200]}"
                codes |= {f"{area}.{one}": place for one in read}
            elif on := passer(reason, functions, module, area):
                fresh.add(on)
            elif f"{module.where}:{functions[-1].name if functions else ''}" not in EXCEPTIONS:
                wrong.append(f"{module.where}:{call.lineno}: makes an error whose reason is no literal")
        fresh -= handed
        handed |= fresh
        found = [
            (module, call, functions, (on.area, on.reason_in(call)))
            for module, call, functions, _ in all_calls
            for on in fresh
            if on.is_meant(call, module)
        ]
    return codes, wrong


def documented(root):
    """Return code → rest of its row."""
    text = (root / "docs/reference/errors.md").read_text(encoding="utf-8")
    rows = [ROW.match(line) for line in text.splitlines()]
    return [(row["code"], row["rest"]) for row in rows if row]


def test_every_reason_is_a_literal(raised):
    _, wrong = raised
    assert not wrong, "\n".join(wrong)


def test_every_code_that_is_raised_is_explained(raised, root):
    codes, _ = raised
    missing = codes.keys() - dict(documented(root)).keys()
    assert codes
    assert not missing, "\n".join(f"{code} at {codes[code]}" for code in sorted(missing))


def test_every_code_that_is_explained_is_raised(raised, root):
    codes, _ = raised
    stale = dict(documented(root)).keys() - codes.keys()
    assert not stale, f"nothing raises {sorted(stale)}"


def compared(modules):
    """Yield (place, code) of the codes that the source asks for: in comparisons, and as keys of tables."""
    areas = "|".join(sorted(set(AREAS.values())))
    for module in modules:
        for node in ast.walk(module.tree):
            asked = (
                node.comparators
                if isinstance(node, ast.Compare)
                else node.keys
                if isinstance(node, ast.Dict)
                else []
            )
            for one in asked:
                text = one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else ""
                if re.fullmatch(rf"(?:{areas})\.(?!json$|toml$|pem$)[a-z0-9_]+", text):
                    yield f"{module.where}:{one.lineno}", text


def test_every_code_that_is_asked_for_is_raised(modules, raised):
    codes, _ = raised
    wrong = [f"{place}: nothing raises {code}" for place, code in compared(modules) if code not in codes]
    assert not wrong, "\n".join(wrong)


def test_every_code_is_explained_once_and_says_what_to_do(root):
    rows = documented(root)
    codes = [code for code, _ in rows]
    twice = {code for code in codes if codes.count(code) > 1}
    thin = [code for code, rest in rows if len([cell for cell in rest.split(" | ") if cell.strip()]) < 2]
    assert not twice
    assert not thin, f"a row has a meaning and what to do: {thin}"


def test_every_exception_says_why(modules):
    places = {module.where for module in modules}
    assert all(why and place.split(":")[0] in places for place, why in EXCEPTIONS.items())
