"""What every policy type knows of its bodies."""

import pytest

from popham.model.policy import TYPES, check_policy


@pytest.mark.parametrize(
    ("kind", "spec", "commands", "paths"),
    [
        (
            "files",
            {
                "files": [{"path": "/a", "content": ""}, {"path": "/b", "directory": True}],
                "reload": "r",
                "check": "c",
            },
            ("r", "c"),
            ["/a", "/b"],
        ),
        ("files", {"files": [{"path": "/a", "content": ""}], "validate": "c", "check": "c"}, ("c",), ["/a"]),
        ("otelcol", {"config": {"service": {}}, "check": "c"}, ("c",), []),
        ("custom", {"command": "till", "data": 1}, ("till",), []),
        (
            "collect",
            {"commands": [{"name": name, "command": "c"} for name in ("a", "b")]},
            ("c",),
            [],
        ),
        ("collect", {}, (), []),
    ],
)
def test_f_y18_a_type_knows_commands_and_paths_of_its_bodies(kind, spec, commands, paths):
    body = check_policy(kind, spec)
    assert TYPES[kind].commands_of(body) == commands
    assert list(TYPES[kind].paths(body)) == paths
