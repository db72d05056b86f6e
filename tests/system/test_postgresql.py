"""A Manager whose state is in PostgreSQL."""

import signal
import tarfile

import pytest

from popham.testing.postgres import Server, find_programs


@pytest.fixture(scope="module")
def server():
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: neither /usr/lib/postgresql/*/bin nor the path has it")
    with Server(programs) as running:
        yield running


@pytest.fixture(scope="module")
def moved(server, founding):
    """A Manager on PostgreSQL, with an agent."""
    fleet = founding()
    secret = fleet.folder / "database.url"
    secret.write_text(server.create_schema() + "\n")
    fleet.env["POPHAM_DATABASE_FILE"] = str(secret)
    fleet.found().group("web")
    fleet.web = fleet.machine("web-1", "web")
    return fleet


def publish(fleet, text):
    fleet.publish("web", fleet.web, text)
    fleet.until(lambda: fleet.web.has(text) and fleet.web.settled(), f"the agent has {text!r}")


def test_a_fleet_works_on_postgresql_and_nothing_is_in_the_state_directory(moved, server):
    publish(moved, "one")
    assert not list(moved.state.glob("popham.db*"))
    assert "postgresql" not in (moved.state / "manager.toml").read_text()
    assert moved.end_manager() == 0
    moved.start_manager()
    publish(moved, "two")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_rel_1_a_manager_outlives_its_postgresql_and_loses_nothing_that_it_acknowledged(moved, server, how):
    publish(moved, f"before {how.name}")
    server.stop(how)
    server.start()
    publish(moved, f"after {how.name}")
    assert moved.manager.poll() is None


def test_rel_1_a_killed_manager_finds_what_it_acknowledged(moved):
    moved.publish("web", moved.web, "last words")
    assert moved.end_manager(signal.SIGKILL) == -signal.SIGKILL
    moved.start_manager()
    moved.until(lambda: moved.web.has("last words") and moved.web.settled(), "the agent has it")


def test_a_backup_without_the_database_says_so_and_the_rest_comes_back(moved, tmp_path):
    archive = tmp_path / "keys.tar.gz"
    done = moved.popham("backup", str(archive), "--state", str(moved.state), code=1)
    assert "state.backup_database" in done.stderr
    assert "pg_dump" in done.stderr
    moved.popham("backup", "--keys-only", str(archive), "--state", str(moved.state))
    with tarfile.open(archive) as tar:
        assert "popham.db" not in tar.getnames()
        assert "keys/director.pem" in tar.getnames()
    moved.end_manager()
    moved.popham("restore", str(archive), "--state", str(tmp_path / "restored"))
    assert (tmp_path / "restored" / "restored").exists()
    # The restored manager.toml still names the old directory, as it would on the same machine.
    moved.state = tmp_path / "restored"
    moved.start_manager()
    assert not (tmp_path / "restored" / "restored").exists()
    assert "signed anew" in (moved.folder / "manager.log").read_text()
    publish(moved, "after the restore")


def test_a_database_with_a_fleet_in_it_is_not_founded_again(moved, tmp_path):
    done = moved.popham("init", "--state", str(tmp_path / "other"), "--name", "localhost", code=1)
    assert "state.founded" in done.stderr
    assert not (tmp_path / "other" / "keys").exists()


def test_a_flag_names_the_database_too_and_is_written_down(moved, server, tmp_path):
    url = server.create_schema()
    told = {"POPHAM_CONFIG": str(tmp_path / "contexts.toml")}
    del moved.env["POPHAM_DATABASE_FILE"]
    words = ("init", "--state", str(tmp_path / "flag"), "--name", "localhost", "--database", url)
    moved.popham(*words, **told)
    assert f'database = "{url}"' in (tmp_path / "flag" / "manager.toml").read_text()
    done = moved.popham("backup", str(tmp_path / "b"), "--state", str(tmp_path / "flag"), code=1, **told)
    assert "state.backup_database" in done.stderr


def test_an_unreachable_database_is_said_and_the_command_may_be_given_again(founding, server, tmp_path):
    fleet = founding()
    words = ("init", "--state", str(tmp_path / "state"), "--name", "localhost", "--database")
    done = fleet.popham(*words, "postgresql:///x?host=/nowhere", code=1)
    assert "state.unreachable" in done.stderr
    done = fleet.popham(*words, "mysql://x", code=78)
    assert "config.database" in done.stderr
    fleet.popham(*words, server.create_schema())
