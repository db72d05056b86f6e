"""Nothing that comes from outside is executed, unpickled, or given to a shell."""

import ast

MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "commands", "pty"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    ("os", "system"),
    ("os", "popen"),
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("asyncio", "create_subprocess_shell"),
}


def findings(module):
    """Yield (line, what) of everything that could execute data."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (
                (node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] in MODULES
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in CALLS:
                yield node.lineno, node.func.id
            if isinstance(node.func, ast.Attribute):
                of = getattr(node.func.value, "id", "")
                if (of, node.func.attr) in METHODS:
                    yield node.lineno, f"{of}.{node.func.attr}"
            if any(k.arg == "shell" and getattr(k.value, "value", True) for k in node.keywords):
                yield node.lineno, "shell=True"


def test_sec_5_nothing_is_unpickled_evaluated_or_given_to_a_shell(modules):
    wrong = [f"{module.where}:{line}: {what}" for module in modules for line, what in findings(module)]
    assert not wrong, "\n".join(wrong)


def test_modules_are_imported_by_name_only_where_the_command_line_does(modules):
    """A name that is computed could come from outside; the table of commands is a literal."""
    wrong = []
    for module in modules:
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module"
            ):
                literal = bool(node.args) and isinstance(node.args[0], ast.Constant)
                if not literal and module.name != "popham.cli.lazy":
                    wrong.append(f"{module.where}:{node.lineno}")
    assert not wrong, "\n".join(wrong)
