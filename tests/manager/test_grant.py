import random

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER

from popham.errors import DefinitionError, GrantError
from popham.manager.grant import PERMISSIONS, Permission, Role, create_admin, require


async def make(bench, role="admin", name="ada", lifetime=3600.0):
    draw = random.Random(3).randbytes
    return await bench.store.write(
        lambda tx: create_admin(tx, name=name, role=role, lifetime=lifetime, now=NOW, draw=draw)
    )


@pytest.mark.parametrize("role", Role)
async def test_a_token_is_recognised_with_its_name_role_and_source(bench, role):
    secret = await make(bench, role)
    grant = await bench.service.authenticate(secret, "192.0.2.3")
    assert (grant.actor, grant.role, grant.source) == ("ada", role, "192.0.2.3")


async def test_sec_16_only_the_digest_of_the_secret_is_kept(bench):
    secret = await make(bench)
    (row,) = await bench.store.read(lambda tx: tx.admins())
    assert secret.startswith(f"pop_{row.id}_")
    assert secret.split("_")[2] not in str(row)
    assert len(row.secret) == 32


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: "",
        lambda s: s[:-1] + ("0" if s[-1] != "0" else "1"),
        lambda s: s.replace("pop_", "pops_"),
        lambda s: s.upper(),
        lambda s: s + "\n",
        lambda s: "pop_" + "0" * 16 + "_" + s.split("_")[2],
        lambda s: "pop_" + s.split("_")[1] + "_",
    ],
)
async def test_a_wrong_token_is_refused_without_saying_why(bench, spoil):
    secret = await make(bench)
    with pytest.raises(GrantError) as caught:
        await bench.service.authenticate(spoil(secret), "x")
    assert caught.value.code == "grant.unknown_token"


async def test_an_expired_token_is_refused(bench):
    secret = await make(bench, lifetime=10.0)
    bench.clock.at += 10
    with pytest.raises(GrantError) as caught:
        await bench.service.authenticate(secret, "x")
    assert caught.value.code == "grant.expired"


async def test_a_token_needs_a_role_and_a_name(bench):
    with pytest.raises(GrantError) as caught:
        await make(bench, role="admn")
    assert caught.value.hint == "Did you mean 'admin'?"
    with pytest.raises(DefinitionError):
        await make(bench, name="A B")


def test_sec_37_a_viewer_may_only_look():
    assert PERMISSIONS[Role.VIEWER] == {Permission.READ, Permission.PLAN}
    for permission in Permission:
        require(ADMIN, permission)
        if permission not in PERMISSIONS[Role.VIEWER]:
            with pytest.raises(GrantError, match="vic has the role viewer") as caught:
                require(VIEWER, permission)
            assert caught.value.code == "grant.not_permitted"
            assert caught.value.hint == "This needs the role admin"
