"""What counts as personal data or a key in a text, and what does not."""

import polars as pl
import pytest

from openthoughts_dagster.release.personal_data import PersonalData, find_personal_data

_AWS, _HF = "AKIA" + "Q3EGUB5Z7WJX2LNP", "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"


def _find(text: str) -> list[PersonalData]:
    rows = pl.DataFrame({"row": ["r1"], "answer": [text]})
    return list(find_personal_data(rows, "row", ["answer"]))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to ada.lovelace@analytical.org for more.", "email"),
        ("Call (650) 253-0000 today", "phone"),
        ("Call +44 20 7946 0958 today", "phone"),
        (f"export AWS_KEY={_AWS}", "key"),
        (f"token = '{_HF}'", "key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "key"),
        ("git clone https://ada:s3cr3tpass@git.analytical.org/x.git", "key"),
    ],
)
def test_addresses_numbers_and_keys_are_found(text: str, kind: str) -> None:
    [found] = _find(text)
    assert (found.column, found.kind, found.row) == ("answer", kind, "r1")
    assert len(found.excerpt) <= 120


@pytest.mark.parametrize(
    "text",
    [
        "The product is 6502530000 and 3.14159265358979, 123-456-7890 is no number of anybody",
        "user@example.com, a@b.test and root@localhost stand for nobody",
        "y = W@x.to(device) + self.weight@hidden.reshape",
        "2 + 20 7946 0958 = 20794609 60",
        "sk-learn, hf_hub and eyJust are words; http://host:80/path@v2 is an address",
        "",
    ],
)
def test_numbers_of_a_problem_and_reserved_addresses_are_not(text: str) -> None:
    assert _find(text) == []


@pytest.mark.timeout(60)
def test_a_text_that_repeats_itself_takes_seconds() -> None:
    for text in ("x" * 500_000 + " sk-abcdefghijklmnop", "AKIA" * 50_000, "650-253-0000 " * 5_000, "a@" * 100_000):
        rows = pl.DataFrame({"row": ["r"], "text": [text]})
        list(find_personal_data(rows, "row", ["text"]))


def test_a_report_does_not_show_the_key() -> None:
    for secret in (_AWS, _HF, "s3cr3tpass"):
        text = f"https://ada:{secret}@host.org" if secret == "s3cr3tpass" else f"key={secret}"
        shown = [found.excerpt for found in _find(text) if found.kind == "key"]
        assert shown and all(secret not in each and secret[5:] not in each for each in shown)
