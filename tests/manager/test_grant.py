import random

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER

from popham.errors import DefinitionError, GrantError
from popham.manager.grant import (
    PERMISSIONS,
    Grant,
    Permission,
    Role,
    Scope,
    put_grant,
    require,
    require_operation,
)

SCOPE = Scope(groups=("paris",), operations=("check-in", "restart"))
FLEET, PARIS, LEFT_BANK = ["fleet"], ["paris", "fleet"], ["left-bank", "paris", "fleet"]


async def make(bench, role="admin", name="ada", lifetime=3600.0, scope=None):
    draw = random.Random(3).randbytes
    _, secret = await bench.store.write(
        lambda tx: put_grant(tx, name=name, role=role, lifetime=lifetime, now=NOW, draw=draw, scope=scope)
    )
    return secret


def operator(**limits):
    return Grant(actor="olga", role=Role.OPERATOR, source="192.0.2.9", scope=Scope(**limits))


@pytest.mark.parametrize("role", Role)
async def test_a_token_is_recognised_with_its_name_role_and_source(bench, role):
    secret = await make(bench, role)
    grant = await bench.service.authenticate(secret, "192.0.2.3")
    assert grant == Grant(actor="ada", role=role, source="192.0.2.3")


@pytest.mark.parametrize("scope", [SCOPE, Scope(groups=("paris",)), Scope(operations=("run",)), Scope()])
async def test_f_o5_a_token_is_recognised_with_its_scope(bench, scope):
    secret = await make(bench, "operator", scope=scope)
    grant = await bench.service.authenticate(secret, "192.0.2.3")
    assert (grant.role, grant.scope) == (Role.OPERATOR, scope)


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


def test_sec_37_a_viewer_may_only_look_and_an_operator_may_order_as_well():
    assert PERMISSIONS[Role.VIEWER] == {Permission.READ, Permission.PLAN}
    more = PERMISSIONS[Role.OPERATOR] - PERMISSIONS[Role.VIEWER]
    assert more == {Permission.OPERATE, Permission.CHECK_IN}
    assert PERMISSIONS[Role.ADMIN] == set(Permission)


@pytest.mark.parametrize("grant", [VIEWER, operator()], ids=["viewer", "operator"])
@pytest.mark.parametrize("permission", Permission)
def test_sec_37_who_lacks_a_permission_is_told_which_role_has_it(grant, permission):
    require(ADMIN, permission)
    if permission in PERMISSIONS[grant.role]:
        require(grant, permission)
        return
    with pytest.raises(GrantError, match=f"{grant.actor} has the role {grant.role}") as caught:
        require(grant, permission)
    assert caught.value.code == "grant.not_permitted"
    roles = [role for role in Role if permission in PERMISSIONS[role]]
    assert caught.value.hint == f"This needs the role {' or '.join(roles)}"


def test_f_o5_an_operator_without_limits_may_order_anything_anywhere():
    for grant in (ADMIN, operator()):
        require_operation(grant, "run", [FLEET, LEFT_BANK])


def test_f_o5_a_group_in_a_scope_stands_for_all_below_it():
    grant = operator(groups=("paris", "lyon"))
    require_operation(grant, "run", [PARIS, LEFT_BANK])
    for outside in (FLEET, ["rome", "fleet"]):
        with pytest.raises(GrantError) as caught:
            require_operation(grant, "run", [PARIS, outside])
        assert caught.value.code == "grant.not_permitted"
        assert caught.value.problem == (
            f"olga may not order anything in the group {outside[0]}, only in paris, lyon and below"
        )
        assert caught.value.hint.endswith(f"popham grant create NAME --role operator --group {outside[0]}")


def test_f_o5_an_operator_orders_only_the_kinds_of_the_scope():
    require_operation(operator(operations=SCOPE.operations), "restart", [FLEET])
    with pytest.raises(GrantError) as caught:
        require_operation(operator(operations=SCOPE.operations), "run", [PARIS])
    assert caught.value.problem == "olga may not order run, only check-in, restart"
    assert caught.value.hint.endswith("popham grant create NAME --role operator --operation run")


def test_f_o5_a_viewer_orders_nothing():
    with pytest.raises(GrantError, match="vic has the role viewer") as caught:
        require_operation(VIEWER, "check-in", [])
    assert caught.value.hint == "This needs the role operator or admin"
