"""Exit codes, and the one line that an error becomes.

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 64 | the command line is wrong |
| 75 | no answer in time; the same command may succeed later |
| 77 | not permitted |
| 78 | a configuration file or variable is wrong |
| 130 | interrupted |

Source: sysexits.h for 64 to 78; 64 and not click's 2, which plans use for
"there are differences".
"""

from __future__ import annotations

from popham.cli.text import clean
from popham.errors import ConfigError, DefinitionError, EnrollmentError, GrantError, PophamError

OK = 0
FAILED = 1
USAGE = 64
TIMEOUT = 75
DENIED = 77
CONFIG = 78
INTERRUPTED = 130


def exit_code(error: PophamError) -> int:
    """Return the exit code that ``error`` ends a command with."""
    if error.code == "link.timeout":
        return TIMEOUT
    if error.code == "conflict.no_terminal":
        return USAGE
    if isinstance(error, GrantError | EnrollmentError):
        return DENIED
    if isinstance(error, ConfigError):
        return CONFIG
    return FAILED


def sentences(error: PophamError) -> list[str]:
    """Return ``popham: [file:line: ]problem (code). hint``, a line per error, safe for a terminal."""
    return [sentence(found) for found in getattr(error, "errors", (error,))]


def sentence(error: PophamError) -> str:
    """Return one error as one line, safe for a terminal."""
    where = ""
    if isinstance(error, DefinitionError) and error.source:
        where = f"{error.source}:{error.line}: " if error.line else f"{error.source}: "
    return complaint(f"{where}{error.problem}", error.code, error.hint)


def complaint(problem: str, code: str, hint: str = "") -> str:
    """Return ``popham: problem (code). hint`` with everything foreign escaped."""
    problem, hint = clean(problem).rstrip("."), clean(hint)
    text = f"popham: {problem} ({code})"
    if not hint:
        return text
    return f"{text}. {hint}" if hint.endswith(("?", "!", ".")) else f"{text}. {hint}."
