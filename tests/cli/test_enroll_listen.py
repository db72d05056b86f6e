"""``popham agent enroll --listen``: a machine that is to dial nobody waits to be born."""

import json

import pytest
from click.testing import CliRunner

from popham.cli.main import cli
from popham.trust.join import EnrollmentKey, JoinString

JOIN = JoinString(("https://manager:4320",), "a" * 64, "b" * 64, EnrollmentKey.create().seed)


@pytest.fixture
def machine(tmp_path):
    """Run ``popham agent`` words with a configuration; returns (exit code, standard error)."""
    config = tmp_path / "agent.toml"
    config.write_text(f'name = "walled"\nstate = "{tmp_path / "state"}"\n')

    def run(*words, toml="", stdin=None):
        if toml:
            config.write_text(config.read_text() + toml)
        done = CliRunner().invoke(cli, ["agent", *words, "--config", str(config)], input=stdin)
        return done.exit_code, done.stderr, done.stdout

    run.state = tmp_path / "state"
    return run


def test_f_l12_it_says_what_to_do_next_on_both_ends(machine):
    code, said, _ = machine("enroll", "--listen", JOIN.encode())
    assert code == 0
    uid = json.loads((machine.state / "identity.json").read_text())["uid"]
    assert f"Waits to be born as {uid}; it dials nobody." in said
    assert "popham agent run --config" in said
    assert "its service listens at https://*:23440" in said
    assert 'metadata: {name: "walled"}' in said
    assert "spec: {address: ADDRESS, port: 23440}" in said
    assert JOIN.encode() not in said


def test_f_l12_what_it_prints_is_a_definition_once_the_address_is_filled_in(machine):
    from popham.model.definition import check
    from popham.model.documents import SourceFile

    _, said, _ = machine("enroll", "--listen", "-", stdin=JOIN.encode())
    lines = said.splitlines()
    begin = next(number for number, line in enumerate(lines) if "apiVersion" in line)
    text = "\n".join(line[2:] for line in lines[begin : begin + 4]).replace("ADDRESS", "192.0.2.7")
    (wanted,) = check([SourceFile("said.yaml", text)]).agents
    assert (wanted.name, wanted.definition.url) == ("walled", "https://192.0.2.7:23440")


@pytest.mark.parametrize(
    ("toml", "spec"),
    [
        ("[service]\nport = 8080\n", "address: ADDRESS, port: 8080}"),
        ("[service]\ntls = false\n", "address: ADDRESS, port: 23440, tls: off}"),
        (
            '[service]\nsocket = "/run/popham/visit.sock"\n',
            "address: ADDRESS, port: PORT, prefix: /PREFIX, tls: web}",
        ),
    ],
)
def test_f_l12_the_definition_follows_the_machines_own_settings(machine, toml, spec):
    _, said, _ = machine("enroll", "--listen", JOIN.encode(), toml=toml)
    assert spec in said


def test_f_l12_the_machine_waits_and_its_service_is_enabled(machine):
    machine("enroll", "--listen", JOIN.encode())
    _, _, status = machine("status", "-o", "json")
    found = json.loads(status)
    assert (found["admission"], found["walled"]) == ("waiting", True)
    _, _, service = machine("service", "status", "--json")
    assert json.loads(service)["enabled"]


def test_f_l12_again_with_another_join_string_it_stays_the_same_machine(machine):
    _, first, _ = machine("enroll", "--listen", JOIN.encode())
    other = JoinString(JOIN.urls, "c" * 64, "d" * 64, EnrollmentKey.create().seed)
    _, second, _ = machine("enroll", "--listen", other.encode())
    assert first.splitlines()[0] == second.splitlines()[0]
    kept = json.loads((machine.state / "join.json").read_text())
    assert (kept["ca_sha256"], kept["walled"]) == ("c" * 64, True)


def test_f_l12_what_is_no_join_string_is_refused_and_leaves_nothing(machine):
    code, said, _ = machine("enroll", "--listen", "nonsense")
    assert code != 0
    assert "enrollment.join_string" in said
    assert not machine.state.exists()
