"""Type ``otelcol``: the configuration of an OpenTelemetry Collector."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from popham.errors import DefinitionError
from popham.model.keys import check_keys
from popham.model.lines import line_of
from popham.model.schema import Place
from popham.model.types.commands import CHECK_SCHEMA, read_commands
from popham.model.types.kind import PolicyType

_COMMANDS: Final = ("check",)
_SECRET_KEY: Final = re.compile(
    r"(?i)(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|key_pem"
    r"|authorization|credentials?)$"
)
"""How keys of the Collector's components end that hold secrets."""
_REFERENCE: Final = re.compile(r"\$\{[^{}]*\}")
"""A value that the Collector looks up itself: it says where a secret is, not what it is."""
_LOGIN: Final = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def check_otelcol(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normal form of a policy of type ``otelcol``.

    Raises:
        DefinitionError: It has no configuration, or a key that nobody knows.
    """
    check_keys(spec, {"config", *_COMMANDS}, "a policy of type 'otelcol'")
    config = spec.get("config")
    if not isinstance(config, Mapping) or not config:
        raise DefinitionError(
            "otelcol",
            "a policy of type 'otelcol' has no configuration",
            "Add 'config:' with receivers, exporters and service",
            line=line_of(spec, "config"),
        )
    return {"config": dict(config), **read_commands(spec, _COMMANDS)}


def find_secrets(body: Mapping[str, Any]) -> Iterator[Place]:
    """Yield where the configuration holds passwords, tokens and keys."""
    yield from _find(body.get("config"), ("config",), secret=False)


def _find(value: object, place: Place, *, secret: bool) -> Iterator[Place]:
    if isinstance(value, Mapping):
        for key, held in value.items():
            named = secret or _SECRET_KEY.search(key) is not None
            yield from _find(held, (*place, key), secret=named)
    elif isinstance(value, list):
        for number, held in enumerate(value):
            yield from _find(held, (*place, number), secret=secret)
    elif isinstance(value, str) and not _REFERENCE.fullmatch(value):
        if (secret and value) or _LOGIN.search(value):
            yield place
    elif secret and isinstance(value, int | float) and not isinstance(value, bool):
        yield place


OTELCOL: Final = PolicyType(
    name="otelcol",
    summary="The configuration of an OpenTelemetry Collector: given to stock agents over OpAMP, and written, "
    "validated and reloaded by our own agent where the machine says where its Collector is.",
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["config"],
        "properties": {
            "config": {
                "type": "object",
                "minProperties": 1,
                "description": "the Collector's configuration: `receivers`, `exporters`, `service` and so on",
            },
            "check": CHECK_SCHEMA,
        },
    },
    further=(),
    check=check_otelcol,
    secrets=find_secrets,
    withheld="Values of keys that end in `password`, `passphrase`, `secret`, `token`, `api_key`, `access_key`, "
    "`private_key`, `key_pem`, `authorization` or `credentials`, and URLs with a password in them.  What the Collector "
    "looks up itself, such as `${env:TOKEN}`, is shown.",
    commands=_COMMANDS,
    locked=("config", *_COMMANDS),
    local={
        "otelcol.path": "where the configuration is written; without it the type is not applied on the machine",
        "otelcol.mode, otelcol.owner, otelcol.group": "mode and accounts of that file",
        "otelcol.collector": "the Collector's program, which is asked to `validate` the file before it is placed",
        "otelcol.validate": "a command that validates as well",
        "otelcol.reload": "the command that tells the Collector of the file",
        "commands": "which program `check` may name",
    },
    example="""\
config:
  receivers: {otlp: {protocols: {grpc: {}}}}
  exporters: {otlp: {endpoint: collector.example:4317, headers: {authorization: "${env:TOKEN}"}}}
  service:
    pipelines:
      traces: {receivers: [otlp], exporters: [otlp]}
""",
    applier="otelcol",
    stock=True,
)
"""The type ``otelcol``."""
