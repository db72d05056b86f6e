"""Tokens by which agents join.

Three kinds.  An ``enrollment`` token is the seed of a signing key inside a join
string; the Manager keeps its public half.  A ``proxy`` token is one for the Proxy
Manager of one definition: it serves once, and accepts nobody.  A ``stock`` token is a bearer token
for agents that are not ours: one group, reusable until it is revoked or expires.

Rules:

1. Counting a use and creating the agent are one transaction (SEC-16).
2. A key that has joined by a token joins again without a further use: an
   enrollment whose answer was lost is simply repeated.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from popham.errors import DefinitionError, EnrollmentError, GrantError, NotFoundError
from popham.manager.audit import note
from popham.manager.grant import Grant, create_secret, matches, split_secret
from popham.manager.keys import ManagerKeys
from popham.manager.objects import find_group
from popham.manager.proxies.definitions import find_proxy
from popham.manager.views import NewToken, TokenView
from popham.model.names import nearest, show
from popham.model.ranges import in_ranges
from popham.store.rows import AgentRow, TokenRow
from popham.store.seam import Reading, Writing
from popham.trust.join import SEED_LENGTH, EnrollmentKey

ENROLLMENT, PROXY, STOCK = "enrollment", "proxy", "stock"
KINDS = (ENROLLMENT, PROXY, STOCK)
JOINING = frozenset({ENROLLMENT, PROXY})
"""Kinds that are the seed of a key inside a join string."""
LIFETIME_DEFAULT = 3600.0
LIFETIME_MAX = 30 * 86400.0
"""Seconds, of an enrollment token."""
STOCK_LIFETIME_MAX = 3653 * 86400.0
"""Seconds, of a stock agents' token: ten years, as long as the trust root."""
USES_MAX = 100_000
_CIDR_MAX = 32


def create_token(
    tx: Writing,
    grant: Grant,
    keys: ManagerKeys,
    *,
    kind: str,
    group: str,
    uses: int | None,
    lifetime: float | None,
    accepts: bool,
    cidr: str,
    now: float,
    draw: Callable[[int], bytes],
    proxy: str = "",
) -> NewToken:
    """Make a token; its secret is in the result and nowhere else.

    Args:
        tx: The transaction.
        grant: Who makes it.
        keys: Go into the join string.
        kind: ``enrollment``, ``proxy`` or ``stock``.
        group: Where agents land.
        uses: How many agents may join; None for one, and for no limit if ``stock``.
        lifetime: Seconds; None for an hour, and for thirty days if ``stock``.
        accepts: Whether agents are accepted at once.
        cidr: Networks it may be used from, comma separated; empty for any.
        now: Unix seconds.
        draw: Returns so many random bytes.
        proxy: Name of the Proxy definition that it is for; of the kind ``proxy`` only.

    Raises:
        DefinitionError: ``definition.token``: a value is wrong.
        NotFoundError: There is no such group, or proxy.
    """
    find_group(tx, group)
    _check_proxy(tx, kind, proxy, uses=uses, accepts=accepts)
    token, secret, public = _draw_secret(kind, keys, draw)
    row = TokenRow(
        id=token,
        kind=kind,
        group=group,
        public=public,
        created=now,
        expires=now + _check_lifetime(kind, lifetime),
        uses_left=_check_uses(kind, uses),
        accepts=accepts,
        cidr=_check_cidr(cidr),
        author=grant.actor,
        proxy=proxy,
    )
    tx.put_token(row)
    note(tx, grant, "token.create", f"token/{token}", now=now, after=_describe(row))
    return NewToken(token=view_token(row, now), secret=secret)


def _draw_secret(kind: str, keys: ManagerKeys, draw: Callable[[int], bytes]) -> tuple[str, str, bytes]:
    """Return a new token's id, what is shown of it once, and what is kept."""
    if kind in JOINING:
        key = EnrollmentKey.from_seed(draw(SEED_LENGTH))
        return key.token_id, keys.join_string(key.seed), key.public_der
    if kind == STOCK:
        return create_secret("pops", draw)
    problem = f"kind: {show(kind)} is no kind of token"
    raise DefinitionError("token", problem, nearest(str(kind), KINDS))


def use_token(
    tx: Writing, token_id: str, spki: str, *, now: float, address: str, proxy: bool = False
) -> TokenRow:
    """Count one use of an enrollment token by the key ``spki``, and return the token; ``proxy``: by a Proxy Manager.

    The caller has verified the token key's signature over the CSR, and creates
    the agent in the same transaction.

    Raises:
        EnrollmentError: ``enrollment.unknown_token``, ``enrollment.token_kind``, ``enrollment.revoked_token``,
            ``enrollment.address``, ``enrollment.expired_token`` or ``enrollment.used_up_token``.
    """
    row = tx.token(token_id)
    if row is None or row.kind not in JOINING:
        problem = "this join string's token is not known here"
        raise EnrollmentError("unknown_token", problem, "Make a new one: popham token create")
    check_kind(row, proxy=proxy)
    known = tx.agent_by_spki(spki)
    again = known is not None and known.token == token_id
    _check_usable(row, now, address, again=again)
    return row if again else _count(tx, row)


def check_kind(row: TokenRow, *, proxy: bool) -> None:
    """Refuse a token of an agent to a Proxy Manager, and the other way round. Raises EnrollmentError."""
    if proxy and row.kind != PROXY:
        problem = "this join string is for agents, and a Proxy Manager asks by it"
        raise EnrollmentError("token_kind", problem, "Make one for it: popham token create --proxy NAME")
    if not proxy and row.kind == PROXY:
        problem = f"this join string is for the Proxy Manager {show(row.proxy)}, and an agent asks by it"
        hint = "Use it with 'popham proxy enroll', or make one for agents: popham token create"
        raise EnrollmentError("token_kind", problem, hint)


class TokenLookup(Protocol):
    """Whatever finds a token by its id: a transaction, or a copy in memory."""

    def token(self, token: str) -> TokenRow | None:
        """Return one token."""
        ...


def find_stock(reading: TokenLookup, bearer: str, *, now: float, address: str) -> TokenRow:
    """Return the stock agents' token that ``bearer`` is; reading it counts no use.

    Raises:
        GrantError: ``grant.unknown_token`` or ``grant.expired``.
    """
    token, secret = split_secret("pops", bearer)
    row = reading.token(token) if token else None
    allowed = row is not None and row.kind == STOCK and matches(secret, row.public)
    if row is None or not allowed or row.revoked or not may_use(row, address):
        problem = "this stock agents' token is not known here, or not for this address"
        raise GrantError("unknown_token", problem, "Make a new one: popham token create --stock")
    if now >= row.expires:
        raise GrantError("expired", "this stock agents' token has expired", "Make a new one")
    return row


def use_stock(tx: Writing, token: TokenRow, agent: AgentRow | None, *, now: float) -> TokenRow:
    """Count one more agent that joins by a stock agents' token; none if ``agent`` did before.

    Raises:
        EnrollmentError: As :func:`use_token`.
    """
    row = tx.token(token.id)
    if row is None:
        raise EnrollmentError("unknown_token", "this stock agents' token is gone", "Make a new one")
    again = agent is not None and agent.token == token.id
    _check_usable(row, now, "", again=again)
    return row if again else _count(tx, row)


def revoke_token(tx: Writing, grant: Grant, token_id: str, *, now: float) -> TokenView:
    """Revoke a token; agents that joined by it stay.

    Raises:
        NotFoundError: There is no such token.
    """
    row = tx.token(token_id)
    if row is None:
        hint = nearest(token_id, [known.id for known in tx.tokens()])
        raise NotFoundError("token", f"there is no token {show(token_id)}", hint)
    if not row.revoked:
        after = replace(row, revoked=True)
        tx.put_token(after)
        note(
            tx,
            grant,
            "token.revoke",
            f"token/{row.id}",
            now=now,
            before=_describe(row),
            after=_describe(after),
        )
        row = after
    return view_token(row, now)


def view_token(row: TokenRow, now: float) -> TokenView:
    """Return a token as people see it."""
    state = "usable"
    if row.revoked:
        state = "revoked"
    elif now >= row.expires:
        state = "expired"
    elif row.uses_left == 0:
        state = "used up"
    return TokenView(
        id=row.id,
        kind=row.kind,
        group=row.group,
        state=state,
        uses=row.uses,
        uses_left=row.uses_left,
        expires=row.expires,
        accepts=row.accepts,
        cidr=row.cidr,
        author=row.author,
        created=row.created,
        proxy=row.proxy,
    )


def may_use(row: TokenRow, address: str) -> bool:
    """Return whether a token may be used from ``address``; an unknown address only if any may."""
    return not row.cidr or in_ranges(row.cidr.split(","), address)


def _check_usable(row: TokenRow, now: float, address: str, *, again: bool) -> None:
    """Refuse a token; one whose agent comes ``again`` may have expired or been used up since."""
    make = "Make a new one: popham token create" + (f" --proxy {row.proxy}" if row.proxy else "")
    if row.revoked:
        raise EnrollmentError("revoked_token", "this token was revoked", make)
    if address and not may_use(row, address):
        problem = f"this token may not be used from {address}"
        raise EnrollmentError("address", problem, f"It is for {row.cidr}")
    if again:
        return
    if now >= row.expires:
        raise EnrollmentError("expired_token", "this token has expired", make)
    if row.uses_left == 0:
        joined = "1 agent has" if row.uses == 1 else f"{row.uses} agents have"
        problem = f"this token is used up: {joined} joined by it"
        raise EnrollmentError("used_up_token", problem, make)


def _count(tx: Writing, row: TokenRow) -> TokenRow:
    left = row.uses_left if row.uses_left < 0 else row.uses_left - 1
    counted = replace(row, uses=row.uses + 1, uses_left=left)
    tx.put_token(counted)
    return counted


def _check_proxy(tx: Reading, kind: str, proxy: str, *, uses: int | None, accepts: bool) -> None:
    """Refuse a token that names a proxy and is none for it, or would let several in, or without a look."""
    if kind != PROXY:
        if proxy:
            problem = f"proxy: a token of the kind {show(kind)} is for no proxy"
            raise DefinitionError("token", problem, "Leave it out, or make a token of the kind 'proxy'")
        return
    find_proxy(tx, proxy)
    if accepts:
        problem = "accepts: a proxy is always accepted by a person"
        raise DefinitionError("token", problem, f"Leave it out; then: popham accept agent {proxy}")
    if uses not in {None, 1}:
        problem = "uses: a token for a proxy serves once"
        raise DefinitionError("token", problem, "Make another one for the next time")


def _check_lifetime(kind: str, lifetime: float | None) -> float:
    if lifetime is None:
        return LIFETIME_DEFAULT if kind in JOINING else LIFETIME_MAX
    longest = LIFETIME_MAX if kind in JOINING else STOCK_LIFETIME_MAX
    if not 1 <= lifetime <= longest:
        problem = f"lifetime: {lifetime:g} s is outside 1 s to {longest / 86400:g} days"
        raise DefinitionError("token", problem, "Make a new token when it is needed")
    return lifetime


def _check_uses(kind: str, uses: int | None) -> int:
    if uses is None:
        return 1 if kind in JOINING else -1
    if not 1 <= uses <= USES_MAX:
        problem = f"uses: {uses} is outside 1 to {USES_MAX}"
        raise DefinitionError("token", problem, "Make several tokens for more machines")
    return uses


def _check_cidr(cidr: str) -> str:
    networks = [part.strip() for part in cidr.split(",") if part.strip()]
    if len(networks) > _CIDR_MAX:
        raise DefinitionError("token", f"cidr: more than {_CIDR_MAX} networks", "Name larger networks")
    found = []
    for part in networks:
        try:
            found.append(str(ipaddress.ip_network(part)))
        except ValueError as error:
            problem = f"cidr: {show(part)} is no network: {error}"
            raise DefinitionError("token", problem, "Write it like 10.0.0.0/8 or 2001:db8::/32") from error
    return ",".join(found)


def _describe(row: TokenRow) -> dict[str, object]:
    return {
        "kind": row.kind,
        "group": row.group,
        "expires": row.expires,
        "uses_left": row.uses_left,
        "accepts": row.accepts,
        "cidr": row.cidr,
        "revoked": row.revoked,
    } | ({"proxy": row.proxy} if row.proxy else {})
