"""The form of the code: length of files and functions, docstrings, names of modules, tasks with an owner."""

import ast

FILE_LINES = 400
FUNCTION_LINES = 60
LONG_FILES: dict[str, str] = {}
"""File → why it may be longer. Empty, and meant to stay so."""
LONG_FUNCTIONS: dict[str, str] = {}
"""``file:function`` → why it may be longer."""
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "core"}

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def public_definitions(tree, prefix=""):
    """Yield (qualified name, node) of public classes, functions and methods, not of what is nested in functions."""
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node, f"{prefix}{node.name}.")


def decorated(node, *names):
    """Return whether a decorator ends in one of ``names``."""
    found = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return any(getattr(d, "attr", getattr(d, "id", "")) in names for d in found)


def test_no_file_is_longer_than_400_lines(modules, test_modules):
    wrong = []
    for module in [*modules, *test_modules]:
        lines = len(module.text.splitlines())
        if lines > FILE_LINES and module.where not in LONG_FILES:
            wrong.append(f"{module.where}: {lines} lines; split it by noun")
    assert not wrong, "\n".join(wrong)


def test_no_function_is_longer_than_60_lines(modules, test_modules):
    wrong = []
    for module in [*modules, *test_modules]:
        for node in ast.walk(module.tree):
            if isinstance(node, FUNCTIONS):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES and f"{module.where}:{node.name}" not in LONG_FUNCTIONS:
                    wrong.append(f"{module.where}:{node.lineno}: {node.name} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_every_exception_from_a_length_still_needs_it_and_says_why(modules, test_modules):
    lengths = {module.where: len(module.text.splitlines()) for module in [*modules, *test_modules]}
    assert all(why and lengths.get(where, 0) > FILE_LINES for where, why in LONG_FILES.items())
    assert all(why and where.split(":")[0] in lengths for where, why in LONG_FUNCTIONS.items())


def test_every_module_has_a_docstring(modules):
    wrong = [module.where for module in modules if not ast.get_docstring(module.tree)]
    assert not wrong, "\n".join(wrong)


def test_every_public_name_has_a_docstring(modules):
    wrong = []
    for module in modules:
        for name, node in public_definitions(module.tree):
            if not ast.get_docstring(node) and not decorated(node, "setter", "overload", "override"):
                wrong.append(f"{module.where}:{node.lineno}: {name} has no docstring")
    assert not wrong, "\n".join(wrong)


def test_no_docstring_is_a_mere_repetition_of_the_name(modules):
    wrong = []
    for module in modules:
        for name, node in public_definitions(module.tree):
            said = (ast.get_docstring(node) or "").strip().rstrip(".").lower().replace(" ", "_")
            if said and said == name.split(".")[-1].lower():
                wrong.append(f"{module.where}:{node.lineno}: {name}")
    assert not wrong, "\n".join(wrong)


def test_no_module_has_a_name_that_says_nothing(modules, test_modules):
    wrong = [m.where for m in [*modules, *test_modules] if VAGUE & set(m.path.with_suffix("").parts[-2:])]
    assert not wrong, "\n".join(wrong)


def test_no_task_is_left_without_an_owner(modules):
    """A task is created in a group, or its handle is kept."""
    wrong = []
    for module in modules:
        for node in ast.walk(module.tree):
            call = node.value if isinstance(node, ast.Expr) else None
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            of = getattr(call.func.value, "id", getattr(call.func.value, "attr", ""))
            loose = call.func.attr == "create_task" and (of == "asyncio" or "loop" in of)
            if loose or call.func.attr == "ensure_future":
                wrong.append(f"{module.where}:{node.lineno}: nobody waits for this task")
    assert not wrong, "\n".join(wrong)


def test_no_error_is_swallowed(modules):
    """No handler takes every error and does nothing with it."""
    wrong = []
    for module in modules:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kind = getattr(node.type, "id", "") if node.type else "everything"
            silent = all(isinstance(step, ast.Pass) for step in node.body)
            if silent and kind in {"everything", "Exception", "BaseException"}:
                wrong.append(f"{module.where}:{node.lineno}: swallows {kind}")
    assert not wrong, "\n".join(wrong)


def naps(function):
    """Yield sleeps of a test's own body: not of its fakes, nor of a loop that waits for a condition."""
    todo = list(ast.iter_child_nodes(function))
    for node in todo:
        if isinstance(node, (*FUNCTIONS, ast.While, ast.ClassDef, ast.Lambda)):
            continue
        todo += ast.iter_child_nodes(node)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "sleep":
            of = getattr(node.func.value, "id", "")
            yields = bool(node.args) and isinstance(node.args[0], ast.Constant) and not node.args[0].value
            if of == "time" or (of == "asyncio" and not yields):
                yield node.lineno


def test_no_test_sleeps(test_modules):
    """A test waits for a condition, or runs in the virtual time of ``popham.testing``; ``sleep(0)`` only yields."""
    wrong = [
        f"{module.where}:{line}: {node.name} sleeps"
        for module in test_modules
        if "popham.testing" not in module.text
        for node in ast.walk(module.tree)
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_")
        for line in naps(node)
    ]
    assert not wrong, "\n".join(wrong)
