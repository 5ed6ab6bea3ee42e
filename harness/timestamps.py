"""The current time in UTC, as everything that Bench writes carries it."""

import datetime


def utc_now() -> datetime.datetime:
    """The current time, aware, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def utc_text() -> str:
    """The current time in UTC as ISO 8601 to the second, for example 2026-01-31T09:30:00+00:00."""
    return utc_now().isoformat(timespec="seconds")
