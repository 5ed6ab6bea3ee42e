"""A page for sharing holds no path and no address of the machine that made it."""

import html
import json

from harness.records import BackendIdentity
from harness.text_sanitize import ADDRESS, is_path, private_texts, without_private


def test_paths_are_shown_by_their_last_part_and_addresses_not_at_all() -> None:
    records = [
        BackendIdentity(
            kind="local", decode="generate", model="/data/models/tiny & co", settings={"url": "http://10.1.2.3:8000/v1"}
        ),
        {"source": "./rows/reviews.csv", "task_spec": "/home/ann/tasks/t.py:Reviews", "label": "n/a", "name": "agnews"},
    ]
    private = private_texts(records)
    said = "/data/models/tiny & co at http://10.1.2.3:8000/v1 (10.1.2.3:8000): ./rows/reviews.csv n/a agnews"
    assert without_private(said, private) == f"tiny &amp; co at {ADDRESS} ({ADDRESS}): reviews.csv n/a agnews"
    for form in (html.escape, json.dumps, lambda text: json.dumps(text).replace("/", "\\/")):
        assert "models" not in without_private(form("/data/models/tiny & co"), private)
    assert without_private("/home/ann/tasks/t.py:Reviews", private) == "t.py:Reviews"
    assert without_private("/home/ann/tasks/other.py at 12 rows/s", private) == "other.py at 12 rows/s"


def test_the_address_of_a_public_service_is_no_secret() -> None:
    assert "https://api.openai.com/v1" not in private_texts([{"base_url": "https://api.openai.com/v1"}])


def test_texts_with_slashes_are_no_paths() -> None:
    assert not any(map(is_path, ("Sci/Tech", "owner/name-that-is-nowhere", "a\n/b")))
