"""The life of a policy from the command line, against a real Manager's API over TLS on loopback."""

import json

import pytest
from click.testing import CliRunner
from tests.cli.test_end_to_end import serving

from popham.cli.invocation import Invocation
from popham.cli.main import cli
from popham.clock import SystemClock
from popham.manager.keys import create_keys

MOTD = """\
apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec:
  type: files
  files: [{path: /etc/popham.d/motd, content: "WORD\\n"}]
"""
PARIS = """\
apiVersion: popham/v1
kind: Group
metadata: {name: paris}
spec:
  inheritance: {policies: {files: false}}
  policies: {files: motd}
  tests:
    - name: paris has the motd
      expect: {policies: {files: motd}}
"""


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "keys").mkdir()
    urls = ("https://127.0.0.1:4320",)
    return create_keys(tmp_path / "keys", urls=urls, trust_domain="popham", clock=SystemClock())


def test_f_y5_f_y6_f_y10_f_y18_a_policy_is_changed_compared_undone_exported_and_pruned(keys, tmp_path):
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / "paris.yaml").write_text(PARIS)
    with serving(keys, tmp_path) as (url, token):
        environ = {
            "POPHAM_URL": url,
            "POPHAM_TOKEN": token,
            "POPHAM_CA": keys.ca.pem.decode(),
            "HOME": str(tmp_path),
        }

        def popham(*args, code=0):
            found = CliRunner().invoke(cli, args, obj=Invocation(environ=environ))
            assert found.exit_code == code, found.stderr
            return found

        def write(word):
            (folder / "motd.yaml").write_text(MOTD.replace("WORD", word))

        at = ("-f", str(folder))
        write("Hello")
        popham("apply", *at, "-m", "first words")
        write("Bye")
        assert "+      content: |" not in popham("diff", *at, code=1).stdout
        popham("plan", *at, "--detailed-exitcode", "--save", str(tmp_path / "plan.json"), code=2)
        popham("apply", "--plan", str(tmp_path / "plan.json"), "-m", "all good things end")
        assert "conflict.base" in popham("apply", "--plan", str(tmp_path / "plan.json"), code=1).stderr
        popham("plan", *at, "--detailed-exitcode")
        popham("diff", *at)
        assert "-        Hello" in popham("diff", "policy", "motd", code=1).stdout
        popham("rollback", "policy", "motd", "--to", "1", "-m", "too sad")
        items = json.loads(popham("history", "policy", "motd", "-o", "json").stdout)["items"]
        assert [item["message"] for item in items] == [
            "back to revision 1: too sad",
            "all good things end",
            "first words",
        ]
        assert [item["groups"] for item in items] == [["paris"], [], []]
        popham("history", "policy", "motd")
        copy = tmp_path / "copy"
        popham("export", str(copy))
        popham("plan", "-f", str(copy), "--detailed-exitcode")
        popham("check", "-f", str(copy))
        source = ("-f", str(copy), "--as-source", "https://git.example/fleet")
        popham("apply", *source)
        assert "conflict.managed" in popham("apply", *at, code=1).stderr
        (copy / "groups" / "paris.yaml").unlink()
        (copy / "policies" / "motd.yaml").unlink()
        assert "policy motd deleted" in popham("plan", *source, "--prune").stdout
        popham("apply", *source, "--prune", "--yes")
        assert popham("get", "policies", "-o", "name").stdout == ""
