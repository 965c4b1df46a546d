"""Invented people, and what is written to them and by them."""

from __future__ import annotations

BROADCASTS = (
    "Hi {name}! Can you make it on Saturday? Reply YES or NO. 🙌",
    "Polls close at 8 pm.\nBring ID & a friend.\n\nReply STOP to quit.",
    'Rent due in < 5 days? Know your rights: http://lil.example.org/rent?a=1&b="2"',
    "Recordatorio: mañana a las 6 pm, calle Ocho. ¡Nos vemos! 👋🏽",
    " Doors open at 6. ",
    "The co-op is open till 7.\r\nToday: apples 2 for 1 🍎🍏\r\n",
    "{name} – don’t forget: “Fair Deal” vote tomorrow… C:\\> just kidding 😉",
)
"""What goes out, one a fortnight."""
REPLIES = (
    *("YES", "no", "Yes!! 💪", "I'm in & bringing my sister", "k", "¿A qué hora?", "STOP", " yes "),
    *("“maybe”", "Sí\nsí\nsí", "👍", "218 Elm St, Apt #3", "02118", "jo@example.org", "", "  "),
    *("null", "call me\r\nlater", "‘later’", '"quoted" \\ and slashed /', "\ttab", "👩‍👩‍👧"),
    *("cafe\u0301", "line\u2028two", "3", '{"a": 1}', "\n\nhello?\n"),
)
"""What comes in."""
NAMES = ("Joe", "Ana", "José", "Mary Ann", "D’Andre", "Zoë", "李", "Łukasz", "friend")


def phone_number(number: int) -> str:
    """The phone number of a profile, with country code; of some with another."""
    area, line = divmod(number, 10_000)
    code = "44" if number % 50 == 17 else "1"
    # Scattered by a factor that shares no divisor with ten thousand.
    return f"{code}{202 + area % 788}555{line * 7919 % 10_000:04d}"
