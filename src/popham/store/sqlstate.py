"""What the errors of PostgreSQL mean.

Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError

from popham.errors import StateError
from popham.store.refusal import OverloadError

# Class 22: a value that does not fit; class 23: a constraint.  One piece of work is at fault, and no other.
_OWN_FAULT: Final = ("22", "23")
# Serialization failure and deadlock: the same transaction may go through if it is tried again.
_AGAIN: Final = frozenset({"40001", "40P01"})
# Lock timeout, cancelled, and idle for too long inside a transaction.
_BUSY: Final = frozenset({"55P03", "57014", "25P03"})
_FULL: Final = frozenset({"53100"})
# Class 08: the connection failed; class 53: too many connections, no memory; 57P…: the server starts or stops;
# 25006: it is a standby now.
_AWAY: Final = ("08", "53", "57P")
_STANDBY: Final = "25006"


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of a database error, empty if it has none; None for any other error."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, psycopg.Error):
        return error.sqlstate or ""
    return "" if isinstance(error, DBAPIError) else None


def is_own_fault(error: BaseException) -> bool:
    """Return whether a database error says only that one piece of work asked for the impossible."""
    state = sqlstate(error)
    return state is not None and (state.startswith(_OWN_FAULT) or _is_argument(error))


def is_away(error: BaseException) -> bool:
    """Return whether the server cannot be reached, or not for writing."""
    state = sqlstate(error)
    if state is None:
        return False
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    original = error.orig if isinstance(error, DBAPIError) else error
    if not state:
        return isinstance(original, psycopg.OperationalError)
    return (state.startswith(_AWAY) and state not in _FULL) or state == _STANDBY


def is_passing(error: BaseException) -> bool:
    """Return whether a transaction that failed so may go through if it is tried again."""
    return sqlstate(error) in _AGAIN or is_away(error)


def judge(error: BaseException) -> StateError:
    """Return what a failed transaction means: it was shed, or the database must not be used any more."""
    state = sqlstate(error)
    if state in _FULL:
        hint = "Free some space on the disk of PostgreSQL"
        return OverloadError("full", "PostgreSQL's disk is full; the change was not made", hint)
    if state in _BUSY or state in _AGAIN:
        hint = "Try again; if it stays so, look for a long transaction in pg_stat_activity"
        return OverloadError("busy", "Another process holds the database; the change was not made", hint)
    if is_away(error):
        return unreachable(error)
    problem = f"PostgreSQL failed and is not used any more: {first_line(error)}"
    return StateError("broken", problem, "See PostgreSQL's log, then start again")


def reading_error(error: BaseException) -> StateError:
    """Return what a failed question means: that one is not answered, others may be."""
    state = sqlstate(error)
    if state in _BUSY or state in _AGAIN or is_away(error):
        return judge(error)
    problem = f"A part of the database cannot be read: {first_line(error)}"
    return StateError("unreadable", problem, "See PostgreSQL's log; restore a backup if it stays so")


def unreachable(error: BaseException) -> OverloadError:
    """Return the refusal while the server cannot be reached."""
    problem = f"PostgreSQL cannot be reached; nothing was changed: {first_line(error)}"
    return OverloadError(
        "unreachable", problem, "Start it, or see its log; the Manager finds it again by itself"
    )


def first_line(error: BaseException) -> str:
    """Return the server's own sentence, without the statement and its values, which may be secrets."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(original, psycopg.Error) and original.diag.message_primary:
        return original.diag.message_primary
    text = str(original).strip()
    return text.splitlines()[0] if text else type(original).__name__


def _is_argument(error: BaseException) -> bool:
    """Return whether the value never reached the server: psycopg could not express it."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(original, psycopg.DataError)
