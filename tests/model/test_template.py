import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.model import template
from popham.model.template import Name, Template, name_facts

VALUES = {"facts": {"host_name": "web-1"}, "labels": {"env": "prod", "a.b-c": "x"}}


def render(text, values=VALUES):
    return Template.parse(text).render(values)


def test_facts_and_labels_are_filled_in():
    assert render("{{ facts.host_name }}/{{labels.env}}{{\tlabels.a.b-c }}\n") == "web-1/prodx\n"
    assert Template.parse("{{ facts.a }} {{ facts.a }}").names == {Name("facts", "a")}


def test_two_braces_can_be_written():
    assert render('{{ "{{" }} x }} {{"{{"}}') == "{{ x }} {{"


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{{ }}",
        "{{ host }}",
        "{{ facts }}",
        "{{ facts. }}",
        "{{ facts.a b }}",
        "{{ facts.a | upper }}",
        "{{ facts.a() }}",
        "{{ facts.__class__['x'] }}",
        "{{ env.HOME }}",
        "{{ facts.a\n}}",
        "{{{ facts.a }}}",
        "{{ facts.a }",
        "{{ 'x' }}",
    ],
)
def test_there_are_no_expressions(text):
    with pytest.raises(ValueError, match=r"^line 2 of the template: .* is no place to fill$"):
        Template.parse(f"ok\n{text}")


def test_names_of_python_are_names_like_any_other():
    with pytest.raises(LookupError, match="no fact '__class__'"):
        render("{{ facts.__class__ }}")


def test_an_unknown_name_is_named_with_the_known_ones():
    with pytest.raises(LookupError, match=r"this machine has no label 'site'; it has: a\.b-c, env"):
        render("{{ labels.site }}")
    with pytest.raises(LookupError, match="it has: none"):
        render("{{ facts.x }}", {})


@pytest.mark.parametrize("value", ["a\nb", "a\0", "\x1b[0m", "\u2028"])
def test_a_value_that_is_not_one_line_of_text_fills_nothing(value):
    with pytest.raises(ValueError, match=r"labels\.env is not one line"):
        render("{{ labels.env }}", {"labels": {"env": value}})


def test_what_is_filled_in_is_not_read_again():
    assert render("{{ labels.env }}", {"labels": {"env": "{{ facts.x }}"}}) == "{{ facts.x }}"


def test_the_whole_is_bounded(monkeypatch):
    monkeypatch.setattr(template, "MAX_RENDERED", 9)
    assert render("{{ labels.env }}é{{ facts.e }}", VALUES | {"facts": {"e": "abc"}}) == "prodéabc"
    with pytest.raises(ValueError, match="more than 9 bytes"):
        render("{{ labels.env }}{{ facts.host_name }}é")


def test_facts_have_names_without_points():
    assert name_facts({"host.name": "a", "os.type": "linux"}) == {"host_name": "a", "os_type": "linux"}


@given(st.text())
def test_text_without_braces_is_left_as_it_is(text):
    text = text.replace("{{", "")
    assert render(text) == text


@given(st.text(st.sampled_from('{} "facts.labels\nxé'), max_size=40))
def test_reading_ends_in_a_template_or_a_sentence(text):
    try:
        parts = Template.parse(text).parts
    except ValueError as error:
        parts, said = (), str(error)
    else:
        said = ""
    filled = any(isinstance(part, Name) or part == "{{" for part in parts)
    assert "is no place to fill" in said or "{{" not in text or filled
