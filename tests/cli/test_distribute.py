"""``popham import distribute``: which files are read, what is sent, and what is said."""

import json

import pytest

DONE = {
    "dry_run": False,
    "groups": [
        {"group": "web", "folder": "Web", "source": "Web/Distribute.ini", "moved": 1, "here": 2, "awaited": 0},
        {"group": "db", "folder": "db", "source": "db/Distribute.ini", "moved": 0, "here": 0, "awaited": 0},
    ],
    "changes": [{"kind": "Group", "name": "web", "action": "created", "discarded": [], "agents": 0}],
    "moves": [{"uid": "u", "agent": "web1", "before": "fleet", "after": "web"}],
    "findings": [], "wrong": 0, "left": [], "left_count": 0,
}  # fmt: skip
LEFT = {
    "source": "Web/Distribute.ini", "line": 3, "text": "INTERVAL \x1b[2J", "why": "nothing has it", "instead": "Nothing",
}  # fmt: skip
URL = "POST /groups/import"


@pytest.fixture
def root(tmp_path):
    """A Policy_ROOT with two groups, as Windows writes it."""
    for name in ("Web", "db"):
        folder = tmp_path / "Policy_ROOT" / "GROUP" / name
        folder.mkdir(parents=True)
        (folder / "Distribute.ini").write_bytes(
            f"; \x94z\r\n[POLICY_DEF]\r\nDISTHOST={name}1\r\n".encode("latin-1")
        )
    (tmp_path / "Policy_ROOT/agentlist.cfg").write_text("")
    (tmp_path / "Policy_ROOT/GROUP/Web/template.dat").write_text("")
    (tmp_path / "Policy_ROOT/GROUP/empty").mkdir()
    return tmp_path / "Policy_ROOT"


@pytest.mark.parametrize("where", ["", "GROUP"])
def test_f_o15_distribute_ini_of_all_groups_is_found(popham, manager, root, where):
    manager.on(URL, DONE)
    found = popham("import", "distribute", str(root / where), "--under", "sites")
    assert manager.requests[-1][1] == "/groups/import?dry_run=false"
    sent = manager.requests[-1][2]
    assert sent["under"] == "sites"
    assert [(one["folder"], one["beside"]) for one in sent["files"]] == [
        ("db", []),
        ("Web", ["template.dat"]),
    ]
    assert sent["files"][0]["text"].endswith("[POLICY_DEF]\r\nDISTHOST=db1\r\n")
    assert sent["files"][0]["name"] == str(root / "GROUP/db/Distribute.ini")
    assert found.stdout.splitlines() == [
        "group web created",
        "agent web1: fleet -> web",
        "group web (folder Web): 1 moved, 2 there already",
        "group db: no hosts",
    ]
    assert (found.exit_code, found.stderr) == (0, "")


def test_one_folder_and_one_file_have_the_name_of_the_folder(popham, manager, root, monkeypatch):
    manager.on(URL, DONE)
    popham("import", "distribute", str(root / "GROUP/Web"), str(root / "GROUP/db/Distribute.ini"))
    assert [one["folder"] for one in manager.requests[-1][2]["files"]] == ["Web", "db"]
    monkeypatch.chdir(root / "GROUP/Web")
    popham("import", "distribute", "Distribute.ini")
    assert [one["folder"] for one in manager.requests[-1][2]["files"]] == ["Web"]
    popham("import", "distribute", "Distribute.ini", "--group", "other")
    assert [one["folder"] for one in manager.requests[-1][2]["files"]] == ["other"]


def test_f_o15_distribute_ini_has_what_is_wrong_said_and_the_command_fails(popham, manager):
    finding = "b:2: host 'a' is in group 'b' and in 'a' (definition.distribute)"
    manager.on(
        URL, DONE | {"dry_run": True, "wrong": 1, "findings": [finding], "left": [LEFT], "left_count": 1}
    )
    found = popham("import", "distribute", "-", "--group", "web", "--dry-run", stdin="DISTHOST=a")
    assert found.exit_code == 1
    assert manager.requests[-1][1].endswith("dry_run=true")
    assert manager.requests[-1][2]["files"] == [
        {"folder": "web", "name": "-", "text": "DISTHOST=a", "beside": []}
    ]
    assert "Web/Distribute.ini:3: INTERVAL" in found.stderr
    assert "\x1b" not in found.stderr
    assert "nothing has it. Nothing\n1 thing without a counterpart\nb:2: host 'a'" in found.stderr
    assert "1 wrong; the others work" in found.stderr
    assert "Nothing was changed" in found.stderr


def test_an_import_has_json(popham, manager, root):
    manager.on(URL, DONE)
    assert json.loads(popham("import", "distribute", str(root), "-o", "json").stdout) == DONE


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("none",), "it cannot be read: No such file"),
        (("x" * 300,), "it cannot be read: File name too long"),
        (("GROUP/empty",), "there is no Distribute.ini in the folder"),
        (("GROUP", "--group", "web"), "--group names the group of one file, and there are 2"),
        (("-",), "Name it: --group web"),
    ],
)
def test_what_cannot_be_read_is_named(popham, manager, root, monkeypatch, words, says):
    monkeypatch.chdir(root)
    found = popham("import", "distribute", *words, stdin="")
    assert found.exit_code == 1
    assert says in found.stderr
    assert manager.requests == []


def test_too_much_is_refused_before_it_is_sent(popham, manager, tmp_path):
    (tmp_path / "Distribute.ini").write_bytes(b"x" * (4 * 2**20 + 1))
    found = popham("import", "distribute", str(tmp_path))
    assert (found.exit_code, "larger than 4 MiB" in found.stderr) == (1, True)
    assert manager.requests == []


def test_names_of_placements_are_shown(popham, manager):
    rule = {
        "name": "r", "order": 100, "token": "", "selector": "", "address": [], "group": "web", "labels": {},
        "names": ["a", "b", "c", "d"],
    }  # fmt: skip
    manager.on("GET /placements", {"items": [rule]})
    assert "a, b, c and 1 more" in popham("get", "placements").stdout
