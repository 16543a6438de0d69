"""What was written after a position: files that grow, are put aside, and go."""

import pytest

from controlplane.drivers.following import follow

ALL = 10**6


class Output:
    """Files as the process driver keeps them."""

    def __init__(self, directory):
        self._directory = directory
        self.count = 3

    @property
    def files(self):
        return [self._directory / name for name in ("log", "log.1", "log.2")]

    def write(self, data: str | bytes) -> None:
        with self.files[0].open("ab") as stream:
            stream.write(data if isinstance(data, bytes) else data.encode())

    def put_aside(self) -> None:
        for newer, older in reversed(list(zip(self.files, self.files[1:], strict=False))):
            if newer.exists():
                newer.rename(older)

    def after(self, position, length=ALL, lines=100):
        return follow(self.files, position, lines, length)


@pytest.fixture
def output(tmp_path):
    return Output(tmp_path)


def test_without_a_position_the_last_lines_are_shown_and_then_only_what_is_new(output):
    output.write("one\ntwo\nthree\n")
    first = output.after(None, lines=2)
    assert (first.text, first.gap) == ("two\nthree\n", False)
    assert output.after(first.position).text == ""
    output.write("four\n")
    assert output.after(first.position).text == "four\n"


def test_nothing_is_missed_when_a_file_is_put_aside(output):
    output.write("one\n")
    position = output.after(None).position
    output.write("two\n")
    output.put_aside()
    output.write("three\n")
    found = output.after(position)
    assert (found.text, found.gap) == ("two\nthree\n", False)
    output.put_aside()
    output.write("four\n")
    assert output.after(found.position).text == "four\n"


def test_what_is_gone_is_said_to_be_and_the_rest_is_shown(output):
    output.write("one\n")
    position = output.after(None).position
    for word in ("two\n", "three\n", "four\n"):
        output.put_aside()
        output.write(word)
    found = output.after(position)
    # The number of the file that is gone may have been given to a new one.
    assert (found.text, found.gap) == ("two\nthree\nfour\n", True)
    assert output.after(found.position).text == ""


def test_a_worker_that_has_written_nothing_is_followed_from_its_first_word(output):
    position = output.after(None).position
    assert output.after(position).text == ""
    output.write("one\n")
    found = output.after(position)
    assert (found.text, found.gap) == ("one\n", False)


def test_what_is_long_comes_in_parts_over_several_files(output):
    position = output.after(None).position
    output.write("0123456789")
    output.put_aside()
    output.write("abcdefghij")
    parts = []
    while part := (found := output.after(position, length=7)).text:
        parts.append(part)
        position = found.position
    assert parts == ["0123456", "789abcd", "efghij"]


def test_a_character_is_never_cut_in_two(output):
    position = output.after(None).position
    output.write("öäü")
    parts = []
    while part := (found := output.after(position, length=3)).text:
        parts.append(part)
        position = found.position
    assert "".join(parts) == "öäü"
    output.write("é".encode()[:1])
    found = output.after(position)
    assert found.text == ""
    output.write("é".encode()[1:])
    assert output.after(found.position).text == "é"


@pytest.mark.parametrize("position", ["", "x", "1", "1:", ":1", "-1:5", "1:-5", "999999999999:0", "٣:٤", "1:2:3"])
def test_a_position_that_there_is_not_is_one_of_which_nothing_is_kept(output, position):
    output.write("one\n")
    found = output.after(position)
    assert (found.text, found.gap) == ("one\n", True)
    assert output.after(found.position).text == ""


def test_a_position_beyond_the_end_is_one_of_another_file(output):
    output.write("one\n")
    number = output.after(None).position.partition(":")[0]
    found = output.after(f"{number}:5:0")
    assert (found.text, found.gap) == ("one\n", True)
