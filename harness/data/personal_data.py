"""Personal data in texts: e-mail addresses, telephone numbers and numbers of payment cards, found by their form.

What has no such form (names, addresses) is not found: a count of zero does not make a text anonymous.
"""

import re
from collections import Counter

EMAIL = re.compile(r"[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
NUMBER = re.compile(r"(?<![\w.,/:#\-])\+?\(?\d(?:[ ./()\-]{0,2}\d){6,18}(?![\w/:\-]|[.,]\d)")
"""A run of 7 to 19 digits as people write cards and telephones; no part of a longer word, number or date."""

DATE = re.compile(r"(?:19|20)\d\d[./\- ]\d\d?[./\- ]\d\d?|\d\d?[./\- ]\d\d?[./\- ](?:19|20)\d\d")
QUAD = re.compile(r"\d{1,5}(?:\.\d{1,5}){3}")
"""An address of the internet or the number of a version."""

ISSUERS = re.compile(r"3[4-7]|3[068]|4|5[1-5]|2[2-7]|6")
"""How the numbers of payment cards begin (ISO/IEC 7812: American Express, Diners, JCB, Visa, Mastercard, others)."""

KINDS = ("e-mail", "phone", "card")
MASKS = {"e-mail": "[EMAIL]", "phone": "[PHONE]", "card": "[CARD]"}


def masked(text: str, counts: Counter[str]) -> str:
    """The text with personal data replaced; `counts` gets what was found, by kind."""
    if "@" in text:
        text, found = EMAIL.subn(MASKS["e-mail"], text)
        if found:
            counts["e-mail"] += found

    def of_number(match: re.Match[str]) -> str:
        kind = _kind(match[0])
        if kind is None:
            return match[0]
        counts[kind] += 1
        return MASKS[kind]

    return NUMBER.sub(of_number, text)


def _kind(written: str) -> str | None:
    """What a run of digits is: a card by its check digit, else a telephone number by how it is written."""
    digits = "".join(c for c in written if c.isdigit())
    if len(digits) >= 13 and ISSUERS.match(digits) and passes_luhn(digits):
        return "card"
    if DATE.fullmatch(written.strip()) or QUAD.fullmatch(written.strip()) or not 7 <= len(digits) <= 15:
        return None
    grouped = any(c in " -()./" for c in written.strip())
    if written.startswith("+") or (digits.startswith("0") and len(digits) >= 9) or (grouped and len(digits) >= 9):
        return "phone"
    return None


def passes_luhn(digits: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    total = 0
    for n, c in enumerate(reversed(digits)):
        value = int(c) * (1 + n % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
