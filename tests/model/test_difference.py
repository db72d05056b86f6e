"""Differences as people see them: bounded, and without secrets."""

from hypothesis import given
from hypothesis import strategies as st

from popham.model.difference import LINES_MAX, find_difference


def of(spec, kind="Group"):
    return {"apiVersion": "popham/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def changed(text):
    return [line for line in text.splitlines()[2:] if line[:1] in {"+", "-"}]


def test_f_y5_the_same_is_no_difference_and_what_is_new_or_gone_is_whole():
    assert find_difference(of({"a": 1}), of({"a": 1})) == ""
    assert changed(find_difference(None, of({"a": 1})))[-1] == "+  a: 1"
    assert changed(find_difference(of({"a": 1}), None))[-1] == "-  a: 1"


def test_sec_53_a_secret_by_its_key_is_hidden_wherever_it_stands():
    old, new = (
        of({"list": [{"api_token": "canary-1"}], "n": 1}),
        of({"list": [{"api_token": "canary-2"}], "n": 1}),
    )
    text = find_difference(old, new)
    assert "canary" not in text
    assert changed(text) == ['-    - api_token: "[hidden]"', '+    - api_token: "[hidden]"']


def test_sec_53_a_secret_that_stays_is_no_difference():
    old, new = of({"password": "canary", "size": 1}), of({"password": "canary", "size": 2})
    text = find_difference(old, new)
    assert changed(text) == ["-  size: 1", "+  size: 2"]
    assert "canary" not in text


def test_sec_53_what_the_type_of_a_policy_calls_secret_is_hidden():
    def policy(content):
        file = {"path": "/etc/x", "content": content, "mode": "0600", "secret": True}
        return of({"type": "files", "files": [file]}, "Policy")

    text = find_difference(policy("canary-1"), policy("canary-2"))
    assert text
    assert "canary" not in text


KEY = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n"


@given(st.text("abcdef", min_size=8, max_size=12), st.text("abcdef", min_size=8, max_size=12))
def test_sec_53_a_private_key_in_a_text_is_hidden_and_seen_to_change(first, second):
    old, new = of({"content": f"a\n{KEY.format(first)}b\n"}), of({"content": f"a\n{KEY.format(second)}b\n"})
    text = find_difference(old, new)
    assert bool(text) == (first != second)
    assert not any(line.strip("+- ") in {first, second} for line in text.splitlines())


def test_a_long_difference_is_cut_and_counted():
    text = find_difference(None, of({"list": list(range(LINES_MAX + 100))}))
    assert len(text.splitlines()) == LINES_MAX + 1
    assert text.splitlines()[-1].endswith("more lines)")


def files(*entries):
    made = [{"path": path, "content": text, "mode": "0644"} | rest for path, text, rest in entries]
    return of({"type": "files", "files": made}, "Policy")


SECRET = {"secret": True}


def test_sec_53_what_only_a_later_revision_calls_secret_is_hidden_in_the_earlier_one_too():
    old = files(("/etc/a", "plain\n", {}), ("/etc/key", "canary-1", {}))
    new = files(("/etc/key", "canary-2", SECRET), ("/etc/a", "plain\n", {}))
    for first, second in ((old, new), (new, old)):
        text = find_difference(first, second)
        assert "canary" not in text
        assert "(secret, changed)" in text
        assert "+      secret: true" in text or "-      secret: true" in text
        assert "plain" in text


def test_sec_53_a_value_that_becomes_a_secret_elsewhere_is_hidden_where_it_stood():
    old = files(("/etc/env", "canary-1", {}))
    new = files(("/etc/env", "KEY=/etc/key", {}), ("/etc/key", "canary-1", SECRET))
    for first, second in ((old, new), (new, old)):
        assert "canary" not in find_difference(first, second)


def test_sec_53_two_revisions_of_before_it_was_called_secret_hide_it_too():
    first, second = files(("/etc/key", "canary-1", {})), files(("/etc/key", "canary-2", {}))
    assert "canary" in find_difference(first, second)
    newest = files(("/etc/key", "canary-3", SECRET))
    text = find_difference(first, second, marks=[newest])
    assert text
    assert "canary" not in text


def test_sec_53_a_schema_that_marks_a_secret_marks_it_in_data_of_before():
    def custom(pin, **marked):
        schema = {"properties": {"pin": {"type": "string"} | marked}}
        return of({"type": "custom", "command": "till", "data": {"pin": pin}, "schema": schema}, "Policy")

    old, new = custom("canary-1"), custom("canary-2", writeOnly=True)
    for first, second in ((old, new), (new, old)):
        assert "canary" not in find_difference(first, second)


def test_sec_53_what_a_policy_of_another_type_called_secret_is_hidden_after_it_was_made_anew():
    old = files(("/etc/key", "canary-1", SECRET))
    new = of({"type": "otelcol", "config": {"exporters": {"x": {"header": "canary-1"}}}}, "Policy")
    for first, second in ((old, new), (new, old)):
        assert "canary" not in find_difference(first, second)


def test_short_values_that_are_secret_somewhere_are_not_looked_for_everywhere():
    old = files(("/etc/a", "1", {}))
    new = files(("/etc/a", "1", {}), ("/etc/key", "1", SECRET))
    assert 'content: "1"' in find_difference(old, new)
