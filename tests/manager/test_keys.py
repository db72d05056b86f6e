import pytest
from tests.manager.conftest import Time

from popham.errors import StateError, TrustError
from popham.manager.keys import create_keys, load_keys
from popham.trust.ca import Authority
from popham.trust.join import JoinString
from popham.trust.keys import SigningKey
from popham.trust.tuf import TrustedTuf

URLS = ("https://manager.example:4320",)


def make(path, **more):
    return create_keys(path, urls=URLS, trust_domain="popham", clock=Time(), **more)


def test_keys_are_made_written_and_loaded_again(tmp_path):
    made = make(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "1.root.json", "1.targets.json", "ca.domain", "ca.key", "ca.pem", "director.pem", "root.pem", "targets.pem",
    ]  # fmt: skip
    loaded = load_keys(tmp_path, urls=URLS, clock=Time())
    assert (loaded.root, loaded.director.keyid, loaded.ca.spki_sha256) == (
        made.root,
        made.director.keyid,
        made.ca.spki_sha256,
    )
    assert loaded.trust_domain == "popham"


def test_sec_46_private_keys_are_readable_by_their_owner_only(tmp_path):
    make(tmp_path)
    for name in ("root.pem", "targets.pem", "director.pem", "ca.key"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_a_fleets_keys_are_never_overwritten(tmp_path):
    make(tmp_path)
    with pytest.raises(StateError) as caught:
        make(tmp_path)
    assert caught.value.code == "state.keys"


def test_an_authority_may_be_imported(tmp_path):
    elsewhere, here = tmp_path / "pki", tmp_path / "keys"
    elsewhere.mkdir()
    here.mkdir()
    Authority.create("company", Time()).save(elsewhere)
    files = ((elsewhere / "ca.key").read_bytes(), (elsewhere / "ca.pem").read_bytes())
    made = make(here, authority=files)
    assert made.ca.pem == files[1]


def test_root_and_targets_keys_may_be_taken_offline(tmp_path):
    make(tmp_path)
    (tmp_path / "root.pem").unlink()
    (tmp_path / "targets.pem").unlink()
    keys = load_keys(tmp_path, urls=URLS, clock=Time())
    TrustedTuf.from_bytes(keys.root, keys.targets)


def test_a_director_that_no_agent_would_believe_is_refused_at_start(tmp_path):
    make(tmp_path)
    SigningKey.create().save(tmp_path / "director.pem")
    with pytest.raises(TrustError):
        load_keys(tmp_path, urls=URLS, clock=Time())


def test_a_missing_key_is_refused(tmp_path):
    make(tmp_path)
    (tmp_path / "director.pem").unlink()
    with pytest.raises(TrustError) as caught:
        load_keys(tmp_path, urls=URLS, clock=Time())
    assert caught.value.code == "trust.key_file"


def test_keys_are_not_shown(tmp_path):
    assert "director" not in repr(make(tmp_path))


def test_the_join_string_names_the_urls(tmp_path):
    parsed = JoinString.parse(make(tmp_path).join_string(bytes(32)))
    assert parsed.urls == URLS
