from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from risedb.corpus import Document
from risedb.errors import InvalidInput
from tests.corpus.rows import rows, values

texts = st.text(min_size=1)
CHAT = ({"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"})


def document(text="cats", record=None, **changes):
    return replace(Document("a", text, None, 0, False, record or {}, "row 1"), **changes)


@given(text=texts, record=rows, data=st.data())
def test_equal_content_has_one_hash_whatever_the_order_of_its_fields(text, record, data):
    shuffled = dict(data.draw(st.permutations(list(record.items()))))
    one = document(text, record)
    same = document(text, shuffled, id="b", place="row 2")
    assert one.content_hash == same.content_hash
    assert len(one.content_hash) == 16


@given(text=texts, record=rows, key=st.text(), value=values, other=texts, start=st.integers(1))
def test_any_change_of_text_loss_or_record_changes_the_hash(text, record, key, value, other, start):
    assume(text != other and (key not in record or repr(record[key]) != repr(value)))
    one = document(text, record)
    chat = replace(one, text=None, messages=CHAT)
    variants = [
        one,
        replace(one, text=other),
        replace(one, loss_from=1 + start % len(text)),
        replace(one, record={**record, key: value}),
        chat,
        replace(chat, completion_only=True),
        replace(chat, messages=CHAT[:1]),
        replace(chat, messages=(CHAT[0], {**CHAT[1], "content": other})),
    ]
    assume(other != CHAT[1]["content"])
    assert len({variant.content_hash for variant in variants}) == len(variants)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": None}, "document 'a' must have either a text or messages"),
        ({"messages": CHAT}, "document 'a' must have either a text or messages"),
        ({"loss_from": -1}, "document 'a': loss_from is -1, outside its text"),
        ({"loss_from": 5}, "document 'a': loss_from is 5, outside its text"),
        ({"record": {"x": float("nan")}}, "NaN or Infinity, which are not JSON"),
    ],
)
def test_a_document_that_cannot_be_is_not_made(changes, message):
    with pytest.raises(InvalidInput) as raised:
        document(**changes)
    assert str(raised.value) == message
