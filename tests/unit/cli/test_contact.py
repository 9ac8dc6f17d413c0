"""Which manager is meant, and how it is named again."""

from argparse import Namespace
from pathlib import Path

import pytest

from penstock.cli.contact import call_again, url_of
from penstock.cli.exits import CommandError


def options(url: str, keys: Path | None = None, token_file: str | None = None) -> Namespace:
    return Namespace(url=url, keys=keys, token_file=token_file)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://node:8000/", "http://node:8000"),
        ("node:8001", "http://node:8001"),
        ("[::1]:8001", "http://[::1]:8001"),
        ("https://gate/penstock/", "https://gate/penstock"),
    ],
)
def test_a_url_is_taken_as_people_write_it(text: str, url: str) -> None:
    assert url_of(options(text)) == url


@pytest.mark.parametrize(
    "text",
    ["ftp://node", "http://", "http://node:port", "http://node:0", "http://u:p@node", "http://[node", ""],
)
def test_what_is_no_url_of_a_manager_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="is not the URL of a manager"):
        url_of(options(text))


def test_the_next_command_names_the_same_manager_and_keys() -> None:
    again = call_again(options("node:8001", Path("my keys")), "status", "s1")
    assert again == "penstock status --url http://node:8001 --keys 'my keys' s1"


def test_the_next_command_holds_the_file_of_the_token_not_the_token() -> None:
    again = call_again(options("http://node:8001", token_file="token"), "logs", "s1")
    assert again == "penstock logs --url http://node:8001 --token-file token s1"
