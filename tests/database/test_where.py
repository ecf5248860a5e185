"""How conditions are written, and what is said of those that are not."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from risedb.database.where import Where
from risedb.errors import InvalidInput
from risedb.storage import Condition
from tests.storage.test_columns import FIELDS, NUMBER_TEXTS, TEXTS

CONDITIONS = (
    st.builds(Condition, FIELDS, st.sampled_from(["=", "!="]), st.tuples(TEXTS))
    | st.builds(Condition, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), st.tuples(NUMBER_TEXTS))
    | st.builds(Condition, FIELDS, st.just("in"), st.lists(TEXTS, max_size=3).map(tuple))
)


@given(st.lists(CONDITIONS, min_size=1, max_size=4).map(tuple).map(Where))
@example(Where((Condition("and", "=", ("and",)), Condition("in", "in", ("in", "AND", ")")))))
@example(Where((Condition("a=b", "=", ("=",)), Condition("not", "!=", ('"',)))))
def test_what_is_written_is_read_back(where):
    assert Where.parse(str(where)) == where
    assert Where.parse([str(Where((condition,))) for condition in where.conditions]) == where


@pytest.mark.parametrize(
    "text",
    [
        "a=1 and b in (x,y) and c!=z",
        " a = 1  AND b IN ( x , y ) and c != z ",
        '"a"="1" and "b" in("x", "y")and c!="z"',
        "a=1\nand b in\t(x,y)\nand c!=z",
    ],
)
def test_space_case_of_keywords_and_quotes_change_nothing(text):
    expected = (Condition("a", "=", ("1",)), Condition("b", "in", ("x", "y")), Condition("c", "!=", ("z",)))
    assert Where.parse(text).conditions == expected


@pytest.mark.parametrize(
    ("text", "field", "values"),
    [
        ("url=https://a.org/b?c=d&e>f", "url", ("https://a.org/b?c=d&e>f",)),
        ("source=and1", "source", ("and1",)),
        ("in=in", "in", ("in",)),
        ("and=1", "and", ("1",)),
        ("index=1", "index", ("1",)),
        (r'"a \"b\"" = "\u00e9, (x) and y"', 'a "b"', ("é, (x) and y",)),
        ('title = ""', "title", ("",)),
        ("日本=語", "日本", ("語",)),
    ],
)
def test_signs_and_keywords_may_be_part_of_a_word(text, field, values):
    assert Where.parse(text).conditions == (Condition(field, "=", values),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the name of a field is missing (character 1)"),
        ("   ", "the name of a field is missing (character 4)"),
        ("source", "an operator (= != < <= > >= in) is missing after 'source' (character 7)"),
        ("=c4", "the name of a field is missing (character 1)"),
        ("source=", "a value after '=' is missing (character 8)"),
        ("source=  and b=1", "a value after '=' is missing (character 10)"),
        ("source==c4", "'==' compares nothing; use one of = != < <= > >= in (character 7)"),
        ("a=<b>", "'=<' compares nothing"),
        ("a= <b>", "a value after '=' is missing (character 4); write it in double quotes"),
        ("a=1 b=2", "'and' is missing before 'b=2' (character 5)"),
        ("a=1 andb=2", "'and' is missing before 'andb=2' (character 5)"),
        ("title=The cat", "'and' is missing before 'cat' (character 11); a value with spaces goes in double quotes"),
        ("a=1 and", "the name of a field is missing (character 8)"),
        ("a=1 or b=2", "'and' is missing before 'or' (character 5)"),
        ('a="b', "a JSON string begins here that has no end or an unknown escape"),
        (r'a="\x"', "(Invalid \\\\escape) (character 3)"),
        ("a in b", "'(' is missing after 'in' (character 6)"),
        ("a in", "'(' is missing after 'in' (character 5)"),
        ("a in (b", "',' or ')' is missing (character 8)"),
        ("a in (b c)", "',' or ')' is missing (character 9)"),
        ("a in (b,)", "a value is missing (character 9)"),
        ("a < x", "< compares numbers, and 'x' is none (character 3)"),
        ("a >= 0x10", ">= compares numbers, and '0x10' is none (character 3)"),
        ("a=\udcff", "'\\udcff' is no valid Unicode text"),
    ],
)
def test_a_mistake_is_shown_with_the_text_and_the_place(text, problem):
    with pytest.raises(InvalidInput) as told:
        Where.parse(text)
    assert str(told.value).startswith(f"the condition {text!r} is not field=value: ")
    assert problem.replace("\\\\", "\\") in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (7, "is no text, list of texts or mapping"),
        (["a=1", {"b": 2}], "is no text, list of texts or mapping"),
        ({1: "x"}, "the name of a field is text"),
        ({"a": object()}, "values are text, numbers, true, false and null"),
        (["a=1", ""], "the condition '' is not field=value"),
    ],
)
def test_what_is_no_condition_is_refused(where, message):
    with pytest.raises(InvalidInput, match=message):
        Where.parse(where)


def test_values_of_python_mean_what_json_writes():
    where = Where.parse({"source": "c4", "label": [1, "x"], "ok": True, "none": None})
    assert str(where) == "source = c4 and label in (1, x) and ok = true and none = null"
    record = {"source": "c4", "label": 1, "ok": True, "none": None}
    assert where.matches(record)
    assert not where.matches({**record, "ok": 1})
    assert not where.matches({**record, "label": 2})
    assert not Where.parse({"label": []}).matches(record)
    assert Where.parse(None).matches({})
    assert Where.parse([]).matches({})
