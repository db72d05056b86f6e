"""What stock agents are given: their policies as configuration objects.

Text is written so that every YAML reader understands it alike: whatever is not
plainly a word is quoted, so no version of YAML takes ``yes`` for true or
``0644`` for 420.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from popham.model.names import canonical, digest
from popham.model.policy import STOCK_TYPES, Policy
from popham.model.types.redaction import has_secret
from popham.upstream.record import ConfigObject

CONTENT_TYPE = "text/yaml"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
"""Text that may stand without quotes, unless it is one of ``_WORDS``."""
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that mean something else, in any case. Source: YAML 1.1, types bool and null."""
_NO_FOLDING = 1 << 30
"""Columns after which lines are folded."""


def stock_config(
    policies: Iterable[Policy], *, guarded: bool = False
) -> tuple[dict[str, ConfigObject], bytes]:
    """Return the config map of a stock agent, and its hash (SHA-256).

    Args:
        policies: The resolved policies of its group; types that stock agents do
            not receive are left out.
        guarded: Leave out policies with secrets: their group asks for a serial, and stock agents name none.

    Without any such policy the map is empty and so is the hash: there is
    nothing to offer, and nothing that such an agent lacks.
    """
    objects = {
        policy.name: ConfigObject(write_yaml(policy.body["config"]).encode(), CONTENT_TYPE)
        for policy in policies
        if policy.type in STOCK_TYPES and not (guarded and has_secret(policy.type, policy.body))
    }
    if not objects:
        return {}, b""
    parts = {name: [held.content_type, digest(held.body)] for name, held in objects.items()}
    return objects, sha256(canonical(parts)).digest()


def write_yaml(value: Any) -> str:
    """Return ``value`` (JSON data) as YAML in block style, keys in their order."""
    writer = YAML(typ="safe", pure=True)
    writer.Representer = _Representer
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its stub says None
    writer.width = _NO_FOLDING
    text = io.StringIO()
    writer.dump(value, text)
    return text.getvalue()


class _Representer(SafeRepresenter):
    """Writes JSON data so that versions 1.1 and 1.2 of YAML read it alike; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the library's form
        return True

    def represent_text(self, data: str) -> Any:
        plain = _PLAIN.fullmatch(data) and data.lower() not in _WORDS
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if plain else '"')

    def represent_number(self, data: float) -> Any:
        # YAML 1.1 wants a point in a number with an exponent.
        text = repr(data)
        text = text if "." in text else text.replace("e", ".0e")
        return self.represent_scalar("tag:yaml.org,2002:float", text)


_Representer.add_representer(str, _Representer.represent_text)
_Representer.add_representer(float, _Representer.represent_number)
