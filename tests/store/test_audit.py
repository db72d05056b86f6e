from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import StateError
from popham.store.audit import chain, verify_chain
from popham.store.engine import connect
from popham.store.rows import AuditRow
from popham.store.sqlite import SqliteStore


def rows_of(count: int) -> list[AuditRow]:
    rows: list[AuditRow] = []
    for number in range(count):
        row = AuditRow(
            at=number + 0.5, actor="é", source="::1", method="apply", object="group/web", after="{}"
        )
        rows.append(chain(row, rows[-1] if rows else None))
    return rows


def broken(rows: list[AuditRow], **options: Any) -> str:
    with pytest.raises(StateError) as caught:
        verify_chain(rows, **options)
    assert caught.value.code == "state.audit"
    return caught.value.problem


@given(st.integers(0, 4), st.sampled_from([field.name for field in dataclasses.fields(AuditRow)]), st.data())
def test_sec_40_a_change_to_any_column_is_found(place: int, column: str, data: st.DataObject) -> None:
    rows = rows_of(5)
    value = getattr(rows[place], column)
    other = st.text(max_size=5) if isinstance(value, str) else st.integers(0, 100).map(type(value))
    rows[place] = dataclasses.replace(
        rows[place], **{column: data.draw(other.filter(lambda new: new != value))}
    )
    assert f"entry {place + 1}:" in broken(rows)


@given(st.integers(0, 4), st.integers(0, 4))
def test_sec_40_a_row_left_out_or_moved_is_found(one: int, two: int) -> None:
    rows = rows_of(5)
    if one != 4:
        broken(rows[:one] + rows[one + 1 :])
    if one != two:
        rows[one], rows[two] = rows[two], rows[one]
        broken(rows)


def test_sec_40_missing_newest_rows_are_found_by_a_digest_that_was_kept() -> None:
    rows = rows_of(5)
    head = verify_chain(rows)
    assert verify_chain(rows, head=head) == head
    assert "ends" in broken(rows[:-1], head=head)
    assert "ends" in broken([], head=head)
    assert not verify_chain([])


def test_a_chain_is_followed_page_by_page() -> None:
    rows = rows_of(5)
    verify_chain(rows[:2])
    assert verify_chain(rows[2:], before=rows[1]) == rows[4].hash
    broken(rows[3:], before=rows[1])
    broken(rows[1:])


async def test_sec_35_sql_that_changes_any_column_of_the_table_is_found(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    for number in range(3):
        row = AuditRow(at=number, actor="me", source="::1", method="apply", object="group/web")
        await sqlite.write(lambda tx, row=row: tx.add_audit(row))
    await sqlite.aclose()
    with contextlib.closing(connect(tmp_path / "popham.db", "rw")) as raw:
        columns = [entry[1] for entry in raw.execute("PRAGMA table_info(audit)")]
        assert len(columns) == len(dataclasses.fields(AuditRow))

        def read() -> list[AuditRow]:
            cursor = raw.execute("SELECT * FROM audit ORDER BY seq")
            names = [entry[0] for entry in cursor.description]
            return [AuditRow(**dict(zip(names, values, strict=True))) for values in cursor]

        verify_chain(read())
        for column in columns:
            raw.execute("BEGIN")
            value = 77 if column in {"seq", "at"} else "other"
            raw.execute(f'UPDATE audit SET "{column}" = ? WHERE seq = 2', (value,))
            broken(read())
            raw.execute("ROLLBACK")
        verify_chain(read())
