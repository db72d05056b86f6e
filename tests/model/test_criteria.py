import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.model.criteria import (
    Combination,
    Condition,
    Kind,
    Rule,
    Surroundings,
    evaluate,
    hangs_on_manager,
    needs,
    walk,
)
from popham.model.criteria_form import criterion_from_dict

FILES = [f"/f{number}" for number in range(5)]
MANAGER = [Condition(Kind.MANAGER, word) for word in ("reachable", "unreachable")]


def combined(inner):
    many = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.builds(Combination, st.sampled_from([Rule.ALL, Rule.ANY]), many) | st.builds(
        lambda part: Combination(Rule.NOT, (part,)), inner
    )


leaves = st.sampled_from([*(Condition(Kind.FILE, path) for path in FILES), *MANAGER])
criteria = st.recursive(leaves, combined, max_leaves=8)
known = st.dictionaries(st.sampled_from(FILES), st.sampled_from([True, False, None]))


def holds(written, **around):
    return evaluate(criterion_from_dict(written), Surroundings(**around))[0]


def reference(criterion, files, manager):
    """Return what holds if everything is known."""
    if isinstance(criterion, Condition):
        if criterion.kind is Kind.FILE:
            return files[criterion.value]
        return manager is (criterion.value == "reachable")
    parts = [reference(part, files, manager) for part in criterion.parts]
    return {Rule.ALL: all(parts), Rule.ANY: any(parts), Rule.NOT: not parts[0]}[criterion.rule]


@given(criteria, st.fixed_dictionaries({path: st.booleans() for path in FILES}), st.booleans())
def test_f_g3_all_any_and_not_mean_what_they_say_where_everything_is_known(criterion, files, manager):
    held, why = evaluate(criterion, Surroundings(files=files, manager=manager))
    assert held is reference(criterion, files, manager)
    assert bool(why) is held


@given(criteria, known, st.sampled_from([True, False, None]), st.data())
def test_f_g3_finding_out_more_never_turns_a_decision(criterion, files, manager, data):
    held, _ = evaluate(criterion, Surroundings(files=files, manager=manager))
    more = {path: data.draw(st.booleans()) if files.get(path) is None else files[path] for path in FILES}
    surely = data.draw(st.booleans()) if manager is None else manager
    later, _ = evaluate(criterion, Surroundings(files=more, manager=surely))
    assert held is None or later is held


def test_f_g3_what_could_not_be_found_out_does_not_hold_and_neither_does_its_opposite():
    assert holds({"file": "/etc/site"}) is None
    assert holds({"not": {"file": "/etc/site"}}) is None
    assert holds({"manager": "unreachable"}) is None
    assert holds({"any": [{"file": "/etc/site"}, {"host_name": "a"}]}, host_name="a") is True
    assert holds({"file": "/etc/site", "host_name": "b"}, host_name="a") is False


@pytest.mark.parametrize(
    ("written", "around", "held"),
    [
        ({"address": "10.0.0.0/8"}, {"addresses": ["192.0.2.1", "10.1.2.3"]}, True),
        ({"address": "10.0.0.0/8"}, {"addresses": ["::ffff:10.1.2.3"]}, True),
        ({"address": "fd00::/8"}, {"addresses": ["10.0.0.1", "fd12::1"]}, True),
        ({"address": "fe80::/10"}, {"addresses": ["fe80::1%eth0"]}, True),
        ({"address": "10.0.0.0/8"}, {}, False),
        ({"gateway": "10.0.0.1"}, {"gateways": ["10.0.0.1"]}, True),
        ({"gateway": "10.0.0.1"}, {"gateways": ["10.0.0.2"]}, False),
        ({"dns_server": ["10.0.0.53", "fd00::53"]}, {"dns_servers": ["fd00::53"]}, True),
        ({"dns_suffix": "corp.example"}, {"dns_suffixes": ["Paris.Corp.Example."]}, True),
        ({"dns_suffix": "corp.example"}, {"dns_suffixes": ["notcorp.example"]}, False),
        ({"dns_name": "intranet"}, {"names": {"intranet": ["10.0.0.9"]}}, True),
        ({"dns_name": "intranet"}, {"names": {"intranet": []}}, False),
        ({"dns_name": "intranet"}, {"names": {"intranet": None}}, None),
        ({"dns_name": "intranet=10.0.0.0/8"}, {"names": {"intranet": ["192.0.2.1"]}}, False),
        ({"interface": "wireless"}, {"interfaces": {"wlan0": "wireless"}}, True),
        ({"interface": "WLAN0"}, {"interfaces": {"wlan0": "wireless"}}, True),
        ({"interface": "vpn"}, {"interfaces": {"eth0": "ethernet"}}, False),
        ({"reachable": "a.example:443"}, {"reachable": {"a.example:443": True}}, True),
        ({"reachable": "a.example:443"}, {}, None),
        ({"host_name": "till-*"}, {"host_name": "TILL-7"}, True),
        ({"environment": "SITE"}, {"environment": {"SITE": ""}}, True),
        ({"environment": "SITE=pa*"}, {"environment": {"SITE": "paris"}}, True),
        ({"environment": "SITE=lyon"}, {"environment": {"SITE": "paris"}}, False),
        ({"file": "/etc/site"}, {"files": {"/etc/site": True}}, True),
        ({"manager": "unreachable"}, {"manager": False}, True),
    ],
)  # fmt: skip
def test_f_g3_each_criterion_looks_at_its_own_thing(written, around, held):
    assert holds(written, **around) is held


def test_f_g3_what_was_not_looked_at_is_unknown_whatever_else_is_known():
    criterion = criterion_from_dict({"environment": "SITE"})
    around = Surroundings(environment={"SITE": "paris"}, unseen=frozenset({criterion}))
    assert evaluate(criterion, around) == (None, ())
    assert evaluate(Combination(Rule.NOT, (criterion,)), around) == (None, ())


def test_f_g3_the_conditions_that_decided_are_told_in_words():
    written = {"any": [{"file": "/x"}, {"address": "10.0.0.0/8", "not": {"interface": "vpn"}}]}
    _, why = evaluate(criterion_from_dict(written), Surroundings(addresses=["10.0.0.1"]))
    assert why == ("address 10.0.0.0/8", "not (interface vpn)")


def test_f_g3_only_what_is_asked_for_is_looked_up():
    written = {"any": [{"file": "/x"}, {"dns_name": ["a", "b=10.0.0.0/8"]}, {"reachable": "h:1"}]}
    found = needs([criterion_from_dict(written)])
    assert (found.names, found.reachable, found.files) == ({"a", "b"}, {"h:1"}, {"/x"})
    assert not found.manager
    assert needs([MANAGER[0]]).manager


@pytest.mark.parametrize(
    ("written", "alone"),
    [
        ({"manager": "reachable"}, True),
        ({"not": {"manager": "unreachable"}}, True),
        ({"any": [{"manager": "reachable"}, {"address": "10.0.0.0/8"}]}, True),
        ({"not": {"all": [{"manager": "reachable"}, {"address": "10.0.0.0/8"}]}}, True),
        ({"manager": "reachable", "address": "10.0.0.0/8"}, False),
        ({"manager": "unreachable", "not": {"interface": "ethernet"}}, False),
        ({"manager": "unreachable", "address": ["0.0.0.0/0", "::/0"]}, True),
        ({"manager": "unreachable", "host_name": "**"}, True),
        ({"any": [{"manager": "reachable"}, {"not": {"gateway": "::/0"}}]}, True),
        ({"address": "0.0.0.0/0"}, False),
        ({"address": "10.0.0.0/8"}, False),
    ],
)
def test_f_g4_a_criterion_that_the_managers_reachability_can_decide_alone_is_known(written, alone):
    assert hangs_on_manager(criterion_from_dict(written)) is alone


@given(criteria, st.booleans())
def test_f_g4_what_does_not_hang_on_the_manager_never_holds_by_it_alone(criterion, reachable):
    alone = evaluate(criterion, Surroundings(manager=reachable))[0]
    if alone and any(one.kind is Kind.MANAGER for one in walk(criterion)):
        assert hangs_on_manager(criterion)


def test_only_a_star_and_a_question_mark_stand_for_others():
    around = Surroundings(host_name="till-[1]", environment={"SITE": "[eu]"})
    for written in ({"environment": "SITE=[eu]"}, {"host_name": "till-[?]"}, {"host_name": "TILL*"}):
        assert evaluate(criterion_from_dict(written), around)[0], written
    for written in ({"environment": "SITE=[!x]eu]"}, {"host_name": "till-[[]1]"}):
        assert not evaluate(criterion_from_dict(written), around)[0], written
