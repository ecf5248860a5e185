import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from risedb.corpus import BadRow, Document, Fields, Row
from risedb.errors import InvalidInput
from tests.corpus.rows import values

literals = st.text(max_size=6)
names = st.sampled_from(["prompt", "input", "system role", "answer"])
CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


def document(values, **settings):
    return Fields(**settings).document(Row("pool.jsonl:17", values))


def reason(values, **settings):
    bad = document(values, **settings)
    assert isinstance(bad, BadRow)
    assert bad.place == "pool.jsonl:17"
    return bad.reason


@given(
    before=st.lists(st.tuples(literals, names), max_size=3),
    between=literals,
    after=st.lists(st.tuples(names, literals), max_size=3),
    strings=st.fixed_dictionaries(
        {n: st.text(max_size=5) | st.just("{prompt}") for n in ["q", "input", "system role", "answer"]}
    ),
    loss_on=st.sampled_from(["all", "completion"]),
)
def test_a_template_is_its_literals_and_strings_side_by_side(before, between, after, strings, loss_on):
    row = {**strings, "text": "not this one"}
    meaning = {"prompt": "q", "completion": "answer"}
    left = "".join(literal + row[meaning.get(name, name)] for literal, name in before) + between
    right = "".join(row[meaning.get(name, name)] + literal for name, literal in after)

    def escaped(literal):
        return literal.replace("{", "{{").replace("}", "}}")

    template = "".join(f"{escaped(literal)}{{{name}}}" for literal, name in before)
    template += escaped(between) + "{completion}"
    template += "".join(f"{{{name}}}{escaped(literal)}" for name, literal in after)
    made = document(row, prompt="q", completion="answer", template=template, loss_on=loss_on)
    assert made.text == left + row["answer"] + right
    assert made.loss_from == (len(left) if loss_on == "completion" else 0)


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{prompt}", "must hold {completion} once"),
        ("{completion} {completion}", "must hold {completion} once"),
        ("{prompt", "expected '}' before end of string"),
        ("}{completion}", "Single '}' encountered"),
        ("{}{completion}", "write {name}, not {}"),
        ("{0}{completion}", "write {name}, not {0}"),
        ("{prompt.__class__}{completion}", "write {name}, not {prompt.__class__}"),
        ("{prompt[0]}{completion}", "write {name}, not {prompt[0]}"),
        ("{prompt!r}{completion}", "write {name}, not {prompt!r}"),
        ("{prompt:>9}{completion}", "write {name}, not {prompt:>9}"),
        (7, "7"),
    ],
)
def test_a_template_that_is_more_than_names_is_refused(template, found):
    with pytest.raises(InvalidInput) as raised:
        Fields(template=template)
    assert str(raised.value).startswith(f"template {template!r}")
    assert found in str(raised.value)


@pytest.mark.parametrize("settings", [{"text": ""}, {"id": 3}, {"messages": None}, {"loss_on": "prompt"}])
def test_a_setting_that_cannot_be_used_is_quoted(settings):
    ((name, value),) = settings.items()
    with pytest.raises(InvalidInput, match=rf"{name}.* is {value!r}; it must be"):
        Fields(**settings)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **{name: st.text(min_size=1) for name in ("text", "id", "prompt", "completion", "messages")},
            "template": st.sampled_from(["{completion}", "{prompt}{completion}"]),
            "loss_on": st.sampled_from(["all", "completion"]),
        },
    )
)
def test_settings_survive_being_remembered(settings):
    fields = Fields(**settings)
    assert Fields.from_dict(fields.as_dict()) == fields
    assert Fields.from_dict(settings) == fields


def test_a_setting_that_is_unknown_is_refused():
    with pytest.raises(InvalidInput, match="'title' is no setting of fields; there are"):
        Fields.from_dict({"title": "a"})


@given(row=st.dictionaries(st.text(max_size=4), values, max_size=3), text=st.text())
def test_the_record_is_the_whole_row(row, text):
    row = {**row, "id": "a", "text": text}
    made = document(row)
    assert (made.id, made.text, made.messages, made.loss_from) == ("a", text, None, 0)
    assert (made.record, made.place) == (row, "pool.jsonl:17")


BOTH = {"text": "t", "prompt": "p", "completion": "c"}
ALL = {**BOTH, "messages": CHAT}


@pytest.mark.parametrize(
    ("row", "settings", "read_as"),
    [
        (ALL, {}, "t"),
        ({**ALL, "text": None}, {}, "p\nc"),
        ({"messages": CHAT, "prompt": "p"}, {}, CHAT),
        ({"messages": CHAT, "text": None}, {}, CHAT),
        (ALL, {"template": "{prompt}: {completion}"}, "p: c"),
        ({**ALL, "q": "question"}, {"prompt": "q"}, "question\nc"),
        ({**ALL, "a": "answer"}, {"completion": "a"}, "p\nanswer"),
        ({**ALL, "chat": CHAT}, {"messages": "chat"}, CHAT),
        ({**ALL, "body": "b"}, {"text": "body"}, "b"),
        ({**ALL, "body": "b"}, {"text": "body", "template": "{completion}"}, "b"),
        ({**ALL, "chat": CHAT}, {"messages": "chat", "completion": "c"}, CHAT),
        (ALL, {"loss_on": "completion"}, "p\nc"),
        ({"text": "t", "messages": CHAT}, {"loss_on": "completion"}, CHAT),
        ({"prompt": "p", "messages": CHAT}, {"loss_on": "completion"}, CHAT),
        ({**BOTH, "body": "b"}, {"text": "body", "loss_on": "completion"}, "p\nc"),
    ],
)
def test_what_the_settings_speak_of_comes_before_what_they_do_not(row, settings, read_as):
    if settings.get("messages") == "chat" and "completion" in settings:
        row = {name: value for name, value in row.items() if name not in {"prompt", "completion"}}
    made = document(row, **settings)
    assert (made.text or list(made.messages)) == read_as


def test_only_the_last_message_counts_when_the_loss_is_on_completions():
    assert not document({"messages": CHAT}).completion_only
    assert document({"messages": CHAT}, loss_on="completion").completion_only


@pytest.mark.parametrize(("given_id", "name"), [("a", "a"), (" ", " "), (7, "7"), (-7, "-7")])
def test_an_id_is_a_string_or_a_whole_number(given_id, name):
    assert document({"id": given_id, "text": "t"}).id == name


@pytest.mark.parametrize(
    ("given_id", "found"),
    [
        ("", "an empty string"),
        (None, "null, not a string or a whole number"),
        (True, "true, not a string or a whole number"),
        (1.0, "a number (1.0), not a string or a whole number"),
        (["a"], "a list, not a string or a whole number"),
        ({"a": 1}, "an object, not a string or a whole number"),
    ],
)
def test_any_other_id_is_refused(given_id, found):
    assert reason({"id": given_id, "text": "t"}) == f"field 'id' is {found}"


@given(text=st.text(), other=st.text())
def test_a_row_without_an_id_is_named_by_its_content(text, other):
    assume(text != other)
    made = document({"text": text})
    assert made.id == made.content_hash.hex()
    assert made.id == Fields().document(Row("elsewhere:1", {"text": text})).id
    assert made.id != document({"text": other}).id


ON_COMPLETION = {"loss_on": "completion"}
NO_ANSWER = "'messages' does not end with an assistant's answer, to put the loss on"


@pytest.mark.parametrize(
    ("row", "settings", "found"),
    [
        ({"text": 3}, {}, "field 'text' is a number (3), not a string"),
        ({"text": None}, {}, "field 'text' is null, not a string"),
        ({"prompt": "p"}, {}, "no field 'completion'; there is 'prompt'"),
        ({"completion": "c"}, {}, "no field 'prompt'; there is 'completion'"),
        ({"prompt": "p", "completion": ["c"]}, {}, "field 'completion' is a list, not a string"),
        ({**BOTH, "a": None}, {"completion": "a"}, "field 'a' is null, not a string"),
        (
            BOTH,
            {"template": "{input}{completion}"},
            "no field 'input'; there is 'text', 'prompt', 'completion'",
        ),
        ({"messages": "hi"}, {}, "field 'messages' is a string, not a list of messages"),
        ({"messages": []}, {}, "field 'messages' is an empty list, not a list of messages"),
        ({"messages": ["hi"]}, {}, "message 1 of 'messages' is a string, not an object"),
        (
            {"messages": [*CHAT, {"role": "user"}]},
            {},
            "no field 'content' of message 3 of 'messages'; there is 'role'",
        ),
        (
            {"messages": [{"role": "user", "content": None}]},
            {},
            "field 'content' of message 1 of 'messages' is null, not a string",
        ),
        ({"messages": CHAT[:1]}, ON_COMPLETION, NO_ANSWER),
        ({"messages": CHAT[1:]}, ON_COMPLETION, NO_ANSWER),
        (
            {"text": "t"},
            ON_COMPLETION,
            "field 'text' is a whole text, and the loss is to be on a completion; that takes "
            "'prompt' and 'completion', or 'messages'",
        ),
        (
            {"a": 1, "b": 2},
            {},
            "no field 'text', nor 'prompt' and 'completion', nor 'messages'; the row has 'a', 'b'. "
            "Name yours with --text-field, or --prompt-field and --completion-field",
        ),
    ],
)
def test_a_row_without_a_meaning_is_a_bad_row_that_says_why(row, settings, found):
    assert reason(row, **settings) == found


NO_JSON = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "surrogate": "\ud800",
    "bytes": b"a",
    "object": object(),
    "keys of two kinds": {1: 2, "a": 3},
    "more digits than Python writes": 10**5000,
}


@pytest.mark.parametrize("kind", NO_JSON)
def test_a_record_that_json_cannot_hold_is_a_bad_row(kind):
    value = NO_JSON[kind]
    assert reason({"text": "t", "x": value})
    assert reason({"text": value})
    assert reason({"text": "t", "id": value})


def test_a_record_that_is_nested_too_deeply_is_a_bad_row():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert reason({"text": "t", "x": nested}) == "nested too deeply to be kept"
    while nested:  # taken apart by hand, since freeing it would recurse too
        nested = nested.pop()


def test_a_change_of_the_row_after_reading_does_not_reach_the_document():
    row = {"text": "t"}
    made = document(row)
    row["text"] = "u"
    assert isinstance(made, Document)
    assert made.record == {"text": "t"}
