"""One log record of OTLP as a row."""

from __future__ import annotations

from typing import Any, Final

from popham.manager.data.rows import LogRow, Origin
from popham.manager.data.values import as_json, as_text, corrected, first_of

HIGHEST: Final = 24
"""The highest severity number of OTLP."""
_SOURCE: Final = "popham.source"
_PATH: Final = "log.file.path"
_NAME: Final = "log.file.name"


def read_log(origin: Origin, record: Any, resource: str) -> LogRow:
    """Return a ``LogRecord`` as a row; ``resource`` is the JSON of its resource's attributes."""
    named = {
        pair.key: pair.value.string_value for pair in record.attributes if pair.key in {_SOURCE, _PATH, _NAME}
    }
    file = named.get(_PATH) or named.get(_NAME, "")
    time = first_of(record.time_unix_nano, record.observed_time_unix_nano, origin.written)
    severity = record.severity_number
    return LogRow(
        uid=origin.uid,
        epoch=origin.epoch,
        offset=origin.offset,
        received=origin.received,
        skew=origin.skew,
        at=corrected(time, origin.skew, origin.received),
        time=time,
        observed=first_of(record.observed_time_unix_nano),
        severity=severity if 0 <= severity <= HIGHEST else 0,
        level=record.severity_text,
        body=as_text(record.body),
        event=record.event_name,
        source=named.get(_SOURCE) or file,
        file=file,
        attributes=as_json(record.attributes),
        resource=resource,
        way=origin.way,
    )
