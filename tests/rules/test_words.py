"""One word per idea: the words of the glossary, in public names, in help texts and in headings.

Rules:

1. ``FORBIDDEN`` maps a word to what is said instead.
2. ``EXCEPTIONS`` lists where a forbidden word is right, by a pattern over the
   whole name or sentence, with the reason.
"""

import ast
import importlib
import importlib.util
import re

FORBIDDEN = {
    "server": "Manager",
    "controller": "Manager",
    "relay": "Proxy Manager",
    "gateway": "Proxy Manager",
    "broker": "Proxy Manager",
    "client": "Agent",
    "node": "Agent",
    "endpoint": "Agent, or the part of the API by its name",
    "minion": "Agent",
    "ou": "Group",
    "zone": "Location",
    "site": "Location",
    "profile": "Policy",
    "cascade": "inherit",
    "ruleset": "Policy",
    "merged": "resolved policy",
    "effective": "resolved policy",
    "checksum": "digest",
    "artifact": "content",
    "asset": "content",
    "active": "mode or dialer",
    "passive": "mode or dialer",
    "initiator": "dialer",
    "poll": "pull, round",
    "polling": "pull, round",
    "cycle": "round",
    "notification": "directive, wake",
    "online": "presence",
    "offline": "presence",
    "alive": "presence",
    "compliant": "sync state",
    "compliance": "sync state",
    "manifest": "bundle, definition",
    "job": "operation",
    "staleness": "age",
    "registration": "enrollment",
    "onboarding": "enrollment",
    "enrolment": "enrollment",
    "enrol": "enroll",
    "blacklist": "a list of what is refused",
    "whitelist": "a list of what is allowed",
}

EXCEPTIONS = (
    (
        r"(?i)relay",
        "the exchange between a Proxy Manager and what is above it; never the Proxy Manager itself",
    ),
    (r"(?i)servers?_?to_?agent|agent_?to_?server", "names of OpAMP's messages"),
    (
        r"(?i)server_?(error|capabilities|offered|provided)|effective_?config|initiate",
        "names of OpAMP's fields",
    ),
    (r"^(report|has|reports)_.*|REPORTS_\w+|ACCEPTS_\w+|OFFERS_\w+", "OpAMP's capabilities and flags"),
    (r"(?i)destination_endpoint|otlp.*endpoint|connection_settings", "names of OpAMP's fields"),
    (
        r"(?i)server_?(name|side|auth|hostname)|client_?(auth|ca|cert\w*|key)|(server|client)_context",
        "roles of TLS",
    ),
    (r"(?i)web server|nginx|apache|http server", "a web server is one"),
    (
        r"(?i)client certificate|server certificate|rest client|opamp client|opamp server",
        "roles of TLS, HTTP, OpAMP",
    ),
    (r"(?i)^client$|^Client([A-Z]\w*)?$|^popham\.client", "the REST client; the layout names the module"),
    (
        r"(?i)^servers?$|server.?list|^servers_|^(order|read)_servers$",
        "the list of addresses in the communication settings",
    ),
    (r"^gateways$|^dns_servers$", "what a machine sees of its network"),
    (r"^endpoint$", "OpAMP's destination_endpoint"),
    (r"(?i)^is_alive$|livez", "the path by which orchestrators ask for health"),
    (r"(?i)definition\.cycle|^cycle$", "a circle in the tree of groups, not a round"),
    (r"(?i)default.?gateway", "the router of a network"),
    (r"(?i)alive_interval|keep_?alive", "keepalive is a word of its own"),
)


def words_of(name):
    """Return the lower-case words of ``snake_case`` or ``CamelCase``."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def singular(word):
    return word if word in FORBIDDEN else word.removesuffix("s")


def excepted(text):
    return any(re.search(pattern, text) for pattern, _ in EXCEPTIONS)


def complaint(word):
    return f"say {FORBIDDEN[singular(word)]!r} instead of {word!r}"


def public_names(module):
    """Yield (line, name) of modules, classes, functions, arguments, fields and constants that others see."""
    yield 1, module.path.stem.strip("_")
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.name
            if not isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                yield from ((arg.lineno, arg.arg) for arg in named)
            if isinstance(node, ast.ClassDef):
                yield from ((n.lineno, n.target.id) for n in node.body if is_field(n))
    for node in module.tree.body:
        if isinstance(node, ast.Assign):
            yield from ((node.lineno, target.id) for target in node.targets if isinstance(target, ast.Name))
        elif is_field(node):
            yield node.lineno, node.target.id


def is_field(node):
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)


def test_public_names_use_the_words_of_the_glossary(modules):
    wrong = []
    for module in modules:
        for line, name in public_names(module):
            if name.startswith("_") or excepted(name):
                continue
            wrong += [
                f"{module.where}:{line}: {name}: {complaint(word)}"
                for word in words_of(name)
                if singular(word) in FORBIDDEN
            ]
    assert not wrong, "\n".join(sorted(set(wrong)))


def headings(path):
    """Yield (line, text) of the headings of a page, code blocks left out."""
    code = False
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        code ^= text.lstrip().startswith("```")
        if text.startswith("#") and not code:
            yield line, text.lstrip("#").strip()


def test_headings_use_the_words_of_the_glossary(pages, root):
    wrong = [
        f"{page.relative_to(root)}:{line}: {text}: {complaint(word)}"
        for page in pages
        for line, text in headings(page)
        if not excepted(text)
        for word in re.findall(r"[a-z]+", re.sub(r"`[^`]*`", "", text).lower())
        if singular(word) in FORBIDDEN
    ]
    assert not wrong, "\n".join(wrong)


def commands(command, path, click):
    """Yield (path, sentence) for the help of a command, its parameters, and all below it."""
    yield path, command.help or ""
    for parameter in command.params:
        yield f"{path} {parameter.name}", getattr(parameter, "help", None) or ""
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from commands(below, f"{path} {name}", click)


def test_help_texts_use_the_words_of_the_glossary():
    click = importlib.import_module("click")
    entry = importlib.import_module("popham.cli.main")
    tree = next(found for found in vars(entry).values() if isinstance(found, click.Group))
    wrong, seen = [], 0
    for path, text in commands(tree, "popham", click):
        seen += 1
        for sentence in re.split(r"(?<=[.:;])\s|\n\n", text):
            words = re.findall(r"[a-z]+", sentence.lower())
            bad = [word for word in words if singular(word) in FORBIDDEN]
            if bad and not excepted(sentence):
                wrong.append(f"{path}: {sentence!r}: {complaint(bad[0])}")
    assert seen > 1, "no commands were found"
    assert not wrong, "\n".join(wrong)


def test_every_command_has_a_sentence_of_help():
    click = importlib.import_module("click")
    entry = importlib.import_module("popham.cli.main")
    tree = next(found for found in vars(entry).values() if isinstance(found, click.Group))
    wrong = [path for path, text in commands(tree, "popham", click) if path.count(" ") < 2 and not text]
    assert not wrong, "\n".join(wrong)
