import os

import pytest

from risedb.corpus import BadRow, Row, read_text_folder
from risedb.errors import InvalidInput, NotFound
from tests.corpus.rows import before_error, written


def test_every_text_below_a_folder_is_read_in_the_order_of_its_path(tmp_path):
    for name in ["b.txt", "a/z.txt", "a/b/c.TXT", "a-b.txt", "a/note.md", "empty.txt"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty.txt" else f"{name}\r\n".encode())
    expected = ["a-b.txt", "a/b/c.TXT", "a/z.txt", "b.txt", "empty.txt"]
    assert list(read_text_folder(tmp_path)) == [
        Row(f"{tmp_path}/{name}", {"id": name, "text": "" if name == "empty.txt" else f"{name}\r\n"})
        for name in expected
    ]


def test_links_to_folders_are_not_followed_and_links_to_files_are(tmp_path):
    (tmp_path / "sub").mkdir()
    written(tmp_path / "sub" / "a.txt", b"a")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "linked.txt").symlink_to(tmp_path / "sub" / "a.txt")
    assert [row.values["id"] for row in read_text_folder(tmp_path)] == ["linked.txt", "sub/a.txt"]


def test_a_text_that_cannot_be_read_is_a_bad_row(tmp_path):
    written(tmp_path / "a.txt", b"caf\xe9")
    (tmp_path / "b.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "c.txt")
    written(tmp_path / "d.txt", b"\xef\xbb\xbfd")
    assert list(read_text_folder(tmp_path)) == [
        BadRow(f"{tmp_path}/a.txt", "not UTF-8: byte 0xe9 at offset 3"),
        BadRow(f"{tmp_path}/b.txt", "not a file that can be read"),
        BadRow(f"{tmp_path}/c.txt", "not a file that can be read"),
        Row(f"{tmp_path}/d.txt", {"id": "d.txt", "text": "d"}),
    ]


def test_a_name_that_is_not_utf8_is_a_bad_row(tmp_path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.txt", "wb") as file:
        file.write(b"text")
    (bad,) = read_text_folder(tmp_path)
    assert bad.reason.startswith("half a surrogate pair")


def test_a_folder_without_texts_is_refused(tmp_path):
    written(tmp_path / "note.md", b"a")
    message = f"{tmp_path} holds no .txt files"
    assert before_error(read_text_folder(tmp_path), InvalidInput) == ([], message)


def test_what_is_no_folder_is_refused_at_once(tmp_path):
    with pytest.raises(NotFound, match=r"nowhere does not exist$"):
        read_text_folder(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match=r"a.txt is a file, not a folder$"):
        read_text_folder(written(tmp_path / "a.txt", b"a"))
