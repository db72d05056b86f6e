"""The commented configuration files: what stands in them is read, and what is commented out could be."""

import re
from pathlib import Path

import pytest

from popham.agent.settings import load_settings
from popham.config import load

ETC = Path(__file__).parents[2] / "packaging/etc"


def uncommented(name, folder):
    """Return a copy of the file in which every commented setting holds."""
    text = (ETC / name).read_text(encoding="utf-8")
    path = folder / name
    path.write_text(re.sub(r"(?m)^# (?=[a-z_-]+ = )", "", text), encoding="utf-8")
    return path


def test_the_agents_file_is_read_as_it_is():
    found = load_settings(ETC / "agent.toml", env={})
    assert found.files.roots == ("/etc/popham.d",)
    assert found.commands == {}


def test_every_commented_setting_of_the_agents_file_could_hold(tmp_path):
    found = load_settings(uncommented("agent.toml", tmp_path), env={})
    assert found.name == "paris-web-1"
    assert found.commands["check-nginx"] == ("/usr/sbin/nginx", "-t", "-c", "{path}")
    assert found.labels == {"env": "prod"}
    assert found.location.reachable == ("*.corp.example:443", "10.0.0.0/8:443")


def test_the_managers_file_is_read_as_it_is_and_uncommented(tmp_path):
    from popham.manager.settings import ManagerSettings

    as_it_is = load(ManagerSettings, path=ETC / "manager.toml", env={}, overrides={})
    whole = load(ManagerSettings, path=uncommented("manager.toml", tmp_path), env={}, overrides={})
    assert whole.state == as_it_is.state


def test_the_proxys_file_is_read_as_it_is_and_every_commented_setting_is_a_default(tmp_path):
    from popham.proxy.settings import load_settings as load_proxy

    as_it_is = load_proxy(ETC / "proxy.toml", env={})
    whole = load_proxy(uncommented("proxy.toml", tmp_path), env={})
    assert (whole.listen, whole.relay, whole.limits) == (as_it_is.listen, as_it_is.relay, as_it_is.limits)
    assert whole.peers.allow == ("10.0.0.0/8",)


@pytest.mark.parametrize("name", ["agent.toml", "manager.toml", "proxy.toml"])
def test_a_commented_file_names_the_page_of_its_keys(name):
    text = (ETC / name).read_text(encoding="utf-8")
    page = re.search(r"docs/reference/[a-z-]+\.md", text)
    assert page
    assert (ETC.parents[1] / page[0]).is_file()
