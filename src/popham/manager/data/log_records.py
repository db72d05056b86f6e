"""One log record of OTLP as a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from popham.manager.data.rows import LogRow, Origin
from popham.manager.data.values import as_dict, as_text, corrected, dump, first_of

HIGHEST: Final = 24
"""The highest severity number of OTLP."""
_SOURCE: Final = "popham.source"
_PATH: Final = "log.file.path"
_NAME: Final = "log.file.name"


def read_log(origin: Origin, record: Any, resource: str) -> LogRow:
    """Return a ``LogRecord`` as a row; ``resource`` is the JSON of its resource's attributes."""
    attributes = as_dict(record.attributes)
    file = _text(attributes, _PATH) or _text(attributes, _NAME)
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
        source=_text(attributes, _SOURCE) or file,
        file=file,
        attributes=dump(attributes),
        resource=resource,
        way=origin.way,
    )


def _text(attributes: Mapping[str, Any], key: str) -> str:
    value = attributes.get(key, "")
    return value if isinstance(value, str) else ""
