"""What may not stand in the repository: places of one machine, hosts of registries, secrets, promises."""

import re

import pytest


def joined(*parts):
    """Return the parts as one word; written apart, so that this file does not match itself."""
    return "".join(parts)


PLACES = re.compile(
    "|".join(
        (
            joined(r"(?<![\w.$}])/wo", r"rk/"),
            joined(r"(?<![\w.])/fa", r"rm/"),
            joined(r"(?<!\w)/ro", r"ot/(?!run)"),
            joined(r"/ho", r"me/\w"),
            joined(r"/opt/py", "pi"),
            joined(r"\.lib", r"rary/"),
            joined(r"\.\./sha", "red"),
            joined("before", "-stop"),
            joined(r"\.py", "env"),
        )
    )
)
HOSTS = re.compile(
    "|".join(
        (
            joined("py", r"pi\.org"),
            joined("python", r"hosted\.org"),
            joined("npm", r"js\.(org|com)"),
            joined(r"deb", r"ian\.org"),
            joined(r"proxy\.go", r"lang\.org"),
            joined(r"crates\.", "io"),
            joined(r"--(extra-)?index", "-url[ =]"),
            joined(r"--find", "-links[ =]"),
        )
    )
)
SECRETS = re.compile(
    joined("-----BEGIN ", r"(EC |RSA |OPENSSH )?PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{40,}")
    + "|"
    + joined(r"pop", r"s?_[0-9a-f]{8,}_[A-Za-z0-9_-]{20,}")
)
PROMISES = re.compile(joined(r"\b(TO", r"DO|FIX", r"ME|XX", r"X)\b|NotImplemented", "Error"))


@pytest.mark.parametrize(
    ("pattern", "what"),
    [(PLACES, "a place of one machine"), (HOSTS, "a registry's host or option"), (SECRETS, "a secret")],
    ids=["places", "hosts", "secrets"],
)
def test_no_file_names(texts, pattern, what):
    wrong = [
        f"{name}:{text[: found.start()].count(chr(10)) + 1}: {what}: {found[0][:40]!r}"
        for name, text in texts.items()
        for found in pattern.finditer(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_product_holds_no_promises(texts):
    wrong = [
        f"{name}:{text[: found.start()].count(chr(10)) + 1}: {found[0]}"
        for name, text in texts.items()
        if name.startswith(("src/", "docs/"))
        for found in PROMISES.finditer(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_lock_pins_every_package_with_digests(root):
    text = (root / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", text.replace("\\\n", " ").strip())
    assert len(entries) > 1
    wrong = [
        entry[:60]
        for entry in entries
        if not re.match(r"[a-z0-9._-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_lock_holds_every_dependency_that_the_project_declares(root):
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    pinned = {name.replace("_", "-") for name in re.findall(r"^([a-z0-9._-]+)==", lock, flags=re.MULTILINE)}
    named = set()
    for block in re.findall(
        r"^(?:dependencies|cli|manager|dev|docs) = \[(.*?)\]\s*$", project, re.DOTALL | re.MULTILINE
    ):
        named |= {name.lower() for name in re.findall(r'"([A-Za-z0-9._-]+)', block)}
    missing = {name.replace("_", "-").replace(".", "-") for name in named - {"popham"}} - {
        name.replace(".", "-") for name in pinned
    }
    assert named, "no dependencies were found"
    assert not missing, f"run make lock: {sorted(missing)}"
