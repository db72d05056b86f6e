"""Agents of a group, and definitions that a rollout changes: what the tests of rollouts have in common."""

from tests.manager.conftest import NOW, group, policy

from popham import __version__
from popham.model.fleet import Admission
from popham.model.rollout import RolloutTerms
from popham.model.status import StateRecord
from popham.store.rows import AgentRow
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state

KEY = IdentityKey.create()
OWN = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"
OTHER = OWN.replace("motd", "other")
TERMS = RolloutTerms.of([0.1, 0.5], soak=600.0)


def uid_of(number):
    return f"00000000-0000-4000-8000-{number:012d}"


def agent(number, group="paris", *, last=NOW, **said):
    record = StateRecord(
        uid=uid_of(number),
        revision=1,
        group=group,
        promise=60.0,
        mode="push",
        dialer="agent",
        agent_version=said.pop("version", __version__),
        **said,
    )
    return AgentRow(
        uid=record.uid,
        name=f"a{number}",
        group=group,
        kind="own",
        admission=Admission.ACCEPTED,
        spki=f"{number:064x}",
        public_key=KEY.public.der,
        state=seal_state(record, KEY),
        last_contact=last,
        first_seen=NOW,
        promise=60.0,
    )


async def add(bench, *rows):
    def work(tx):
        for row in rows:
            tx.put_agent(row)

    await bench.store.write(work)


async def fill(bench, agents=20):
    await bench.apply(policy(content="one"), group("paris", OWN))
    await add(bench, *map(agent, range(agents)))
    bench.told.clear()


def digests(bundle):
    return [ref.sha256 for ref in bundle.locations["default"].policies]
