"""What is kept of agents' data, in every filling of the store's seam."""

from __future__ import annotations

import dataclasses

from popham.store.data_rows import AlertRow, DeliveryRow, EventRow, SilenceRow, StreamRow, SummaryRow
from popham.store.seam import Store, Writing

STREAM = StreamRow(uid="u1", stream="logs", epoch=2**61, body='{"é": 1}', segment=7, position=2**40)
EVENT = EventRow(number=1, uid="u1", at=1.5, received=2.5, name="popham.threshold", severity=17, body="{}")
SUMMARY = SummaryRow(uid="u1", at=3.5, received=4.5, body='{"cpu": 0.5}')
ALERT = AlertRow(uid="u1", item="cpu", resource="", state="error", since=5.5, number=1, body="{}")
SILENCE = SilenceRow(name="upgrade", begins=1.0, ends=2.0, body="{}")
DELIVERY = DeliveryRow(number=1, route="hook", at=6.5, attempts=2, body="{}", error="é")


async def fill(store: Store) -> None:
    """Keep something of u1 and of u2."""

    def put(tx: Writing) -> None:
        for uid in ("u2", "u1"):
            tx.put_streams([dataclasses.replace(STREAM, uid=uid)])
            tx.put_summaries([dataclasses.replace(SUMMARY, uid=uid)])
            tx.put_alert(dataclasses.replace(ALERT, uid=uid))
        tx.put_stream(dataclasses.replace(STREAM, stream="events", epoch=1))
        uids = (("u1", 1), ("u2", 2), ("u1", 3))
        tx.put_events(
            [dataclasses.replace(EVENT, uid=uid, number=number, received=number) for uid, number in uids]
        )
        tx.put_silence(SILENCE)
        tx.put_delivery(dataclasses.replace(DELIVERY, number=2))
        tx.put_delivery(DELIVERY)
        tx.put_delivery(dataclasses.replace(DELIVERY, route="desk"))

    await store.write(put)


async def test_rows_are_read_as_they_were_put(store: Store) -> None:
    await fill(store)
    streams = await store.read(lambda tx: tx.streams_of("u1"))
    assert streams == [dataclasses.replace(STREAM, stream="events", epoch=1), STREAM]
    assert [(row.uid, row.stream) for row in await store.read(lambda tx: tx.stream_rows())] == [
        ("u1", "events"),
        ("u1", "logs"),
        ("u2", "logs"),
    ]
    assert await store.read(lambda tx: tx.summary("u1")) == SUMMARY
    assert await store.read(lambda tx: tx.summary("u3")) is None
    assert await store.read(lambda tx: tx.summaries(["u3", "u1"])) == [SUMMARY]
    assert [row.uid for row in await store.read(lambda tx: tx.summaries())] == ["u1", "u2"]
    assert await store.read(lambda tx: tx.alerts(uid="u1")) == [ALERT]
    assert await store.read(lambda tx: tx.silences()) == [SILENCE]
    assert [(row.number, row.route) for row in await store.read(lambda tx: tx.deliveries(limit=2))] == [
        (1, "desk"),
        (1, "hook"),
    ]


async def test_events_are_read_by_number_from_either_end(store: Store) -> None:
    await fill(store)
    assert await store.read(lambda tx: tx.last_event()) == 3
    assert [row.number for row in await store.read(lambda tx: tx.events(after=1))] == [2, 3]
    assert [row.number for row in await store.read(lambda tx: tx.events(uid="u1", newest=True, limit=1))] == [
        3
    ]
    await store.write(lambda tx: tx.prune_events(2.5))
    assert [row.number for row in await store.read(lambda tx: tx.events())] == [3]


async def test_what_recovered_is_shown_to_who_asks_for_it(store: Store) -> None:
    await fill(store)
    await store.write(lambda tx: tx.put_alert(dataclasses.replace(ALERT, state="recovered")))
    assert await store.read(lambda tx: tx.alerts(uid="u1")) == []
    assert [row.state for row in await store.read(lambda tx: tx.alerts(uid="u1", open_only=False))] == [
        "recovered"
    ]


async def test_all_of_one_agent_goes_and_nothing_of_another(store: Store) -> None:
    await fill(store)
    await store.write(lambda tx: tx.delete_data_of("u1"))
    assert [row.uid for row in await store.read(lambda tx: tx.stream_rows())] == ["u2"]
    assert [row.uid for row in await store.read(lambda tx: tx.events())] == ["u2"]
    assert await store.read(lambda tx: tx.summary("u1")) is None
    assert [row.uid for row in await store.read(lambda tx: tx.alerts())] == ["u2"]


async def test_what_is_deleted_is_gone(store: Store) -> None:
    await fill(store)

    def delete(tx: Writing) -> None:
        tx.delete_stream("u1", "logs", 2**61)
        tx.delete_alert("u1", "cpu", "")
        tx.delete_silence("upgrade")
        tx.delete_delivery(1, "hook")
        tx.delete_delivery(1, "hook")

    await store.write(delete)
    assert [row.stream for row in await store.read(lambda tx: tx.streams_of("u1"))] == ["events"]
    assert await store.read(lambda tx: tx.alerts(uid="u1")) == []
    assert await store.read(lambda tx: tx.silences()) == []
    assert len(await store.read(lambda tx: tx.deliveries())) == 2
