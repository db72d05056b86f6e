"""Who a change reaches first: salts and shares, drawn for each group within one quota. Pure.

Rules:

1. The first cohort has at least one agent in contact, and at most its share of all agents, rounded up.
2. Of each group it has at most the share, rounded up; one whose part is none has the share 0.
3. No group's share is above its wave's; where the draw gives too many, it is below.
4. Agents that know no rollouts are on the stable side and in no cohort: stock agents, and those before 0.4.0.

Source: row F.Y17, guarantees SEC-42.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from popham import __version__
from popham.errors import ConflictError
from popham.model.rollout import PPM, bucket

_SINCE = (0, 4)
"""The version whose agents decide by themselves which side of a bundle holds."""
_NUMBERS = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})")
_PATIENCE = 30
"""Draws, in multiples of those that are needed on average; missed once in 10^13."""
_TRIES = 200
"""Draws in which one agent is in, but too many others before it."""


@dataclass(frozen=True, slots=True)
class Member:
    """An agent of a group that can be in a cohort."""

    uid: str
    in_contact: bool


@dataclass(frozen=True, slots=True)
class Part:
    """What is drawn for one group: its salt, and its share in the first wave."""

    salt: str
    ppm: int


def takes_part(version: str) -> bool:
    """Return whether an agent of this version can be in a cohort; one of this program's own version can."""
    found = _NUMBERS.match(version)
    return version == __version__ or (found is not None and (int(found[1]), int(found[2])) >= _SINCE)


def draw(groups: Mapping[str, Sequence[Member]], ppm: int, rng: Random) -> dict[str, Part]:
    """Return for each group what decides who is in its cohort.

    Args:
        groups: Name → its members.
        ppm: Share of the first wave, in parts per million, above 0.
        rng: Draws.

    Raises:
        ConflictError: ``conflict.contact``: nobody could be first.
    """
    here = {name: [one.uid for one in members if one.in_contact] for name, members in groups.items()}
    if not any(here.values()):
        problem = "no agent that could have it first is in contact"
        raise ConflictError("contact", problem, "Wait for one, or give it to all at once: --all")
    quotas = allot({name: len(members) for name, members in groups.items()}, ppm, here)
    first = max((name for name in groups if quotas[name] and here[name]), key=lambda name: len(here[name]))
    return {
        name: _draw_part(members, here[name], quotas[name], ppm, rng, must=name == first)
        for name, members in groups.items()
    }


def allot(sizes: Mapping[str, int], ppm: int, here: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return how many agents of each group may be in the cohort; what is left of whole ones, by largest remainders.

    Args:
        sizes: Group → its members.
        ppm: Share, in parts per million.
        here: Group → those of them in contact; a group with such goes before any without.
    """
    exact = {name: ppm * size for name, size in sizes.items()}
    quotas = {name: part // PPM for name, part in exact.items()}
    left = -(-sum(exact.values()) // PPM) - sum(quotas.values())
    by_remainder = sorted(exact, key=lambda name: (not here[name], -(exact[name] % PPM), name))
    for name in by_remainder:
        if left and exact[name] % PPM:
            quotas[name] += 1
            left -= 1
    if not any(quotas[name] and here[name] for name in sizes):
        giver = next(name for name in sizes if quotas[name])
        quotas[giver] -= 1
        quotas[next(name for name in sizes if here[name])] += 1
    return quotas


def draw_nobody(groups: Iterable[str], rng: Random) -> dict[str, Part]:
    """Return for each group what has nobody in its cohort."""
    return {name: Part(f"{rng.getrandbits(64):016x}", 0) for name in groups}


def _draw_part(
    members: Sequence[Member], here: Sequence[str], quota: int, ppm: int, rng: Random, *, must: bool
) -> Part:
    """Return a salt with at most ``quota`` in the cohort, and somebody in contact if that can be."""
    salt = f"{rng.getrandbits(64):016x}"
    if not quota:
        return Part(salt, 0)
    if not here:
        return Part(salt, _narrowed(members, salt, quota, ppm))
    chosen = rng.choice(here)
    for _ in range(_TRIES):
        salt = _salt_with(chosen, ppm, rng) or salt
        narrowed = _narrowed(members, salt, quota, ppm)
        if bucket(salt, chosen) * PPM < narrowed:
            return Part(salt, narrowed)
    if must:
        problem = "nobody could be drawn who has it first"
        raise ConflictError("contact", problem, "Name a larger share, or give it to all at once: --all")
    return Part(salt, _narrowed(members, salt, quota, ppm))


def _salt_with(uid: str, ppm: int, rng: Random) -> str:
    """Return a salt by which one agent is in the cohort; empty if none was found."""
    for _ in range(_PATIENCE * -(-PPM // ppm)):
        salt = f"{rng.getrandbits(64):016x}"
        if bucket(salt, uid) * PPM < ppm:
            return salt
    return ""


def _narrowed(members: Sequence[Member], salt: str, quota: int, ppm: int) -> int:
    """Return the largest share up to ``ppm`` by which no more than ``quota`` are in the cohort."""
    within = sorted(place for one in members if (place := bucket(salt, one.uid) * PPM) < ppm)
    return ppm if len(within) <= quota else int(within[quota])
