"""Real processes: a Manager that takes agents from some addresses only, and not from some identities."""

import pytest

REFUSED = '[peers]\ndeny = ["127.0.0.0/8"]\n'


@pytest.fixture(scope="module")
def fleet(founding):
    """A Manager that nobody on this machine may reach as an agent, by its configuration."""
    return founding().found(REFUSED)


def configure(fleet, text):
    """Give the Manager another configuration, and start it again."""
    assert fleet.end_manager() == 0
    (fleet.state / "manager.toml.d" / "test.toml").write_text(text)
    fleet.start_manager()


def test_f_p7_agents_come_from_allowed_addresses_only_and_the_setting_is_read_at_the_start(fleet):
    web = fleet.unjoined("web-1")
    said = web.popham("enroll", fleet.join(), code=None)
    assert said.returncode == 1
    assert "(link." in said.stderr
    log, told = fleet.folder / "manager.log", "[peers] lets in nobody from 127.0.0.1"
    fleet.until(lambda: told in log.read_text(), "the Manager says whom it turned away")
    assert fleet.client.agents() == []
    configure(fleet, '[peers]\nallow = ["127.0.0.1", "192.0.2.0/24"]\n')
    web.enroll()
    web.start()
    fleet.until(lambda: web.view["connected"], "web-1 holds a link")


def test_f_p7_by_identity_a_token_has_its_addresses_and_a_revoked_agent_none(fleet):
    far = fleet.unjoined("far-1")
    said = far.popham("enroll", fleet.join(cidr="192.0.2.0/24"), code=77).stderr
    assert "(enrollment.address)" in said
    near = fleet.unjoined("near-1")
    near.popham("enroll", fleet.join(cidr="127.0.0.0/8"))
    near.start()
    fleet.until(lambda: near.view["connected"], "near-1 holds a link")
    fleet.popham("revoke", "agent", "near-1", "--yes")
    fleet.until(lambda: not near.view["connected"], "near-1 was put out")


def test_f_p7_a_wrong_range_is_one_sentence_and_the_manager_does_not_start(fleet):
    assert fleet.end_manager() == 0
    file = fleet.state / "manager.toml.d" / "test.toml"
    file.write_text('[peers]\nallow = ["10.0.0.0/33"]\n')
    said = fleet.popham("manager", "--state", str(fleet.state), code=78).stderr
    assert "peers.allow: '10.0.0.0/33' is no range" in said
    assert "(config.peers)" in said
    assert said.count("\n") == 1
    file.write_text("[peers]\nalow = []\n")
    said = fleet.popham("manager", "--state", str(fleet.state), code=78).stderr
    assert "'allow'" in said
