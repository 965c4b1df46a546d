"""Invented programs and texts. 555 numbers and example addresses only."""

from __future__ import annotations

PROGRAMS = (
    ("Default Campaign", "Members & Friends", "Text to Join"),
    ("Spring Drive", "“Fair Deal” Pledge", "Info Request"),
    ("Default Campaign", "Rent hotline / Línea de renta", "Text to Vote"),
)
"""Campaign name, program name and program type, in turn."""

NETWORKS = (
    "T-Mobile", "Verizon Wireless", "AT&T", "T-Mobile", "U.S. Cellular", "Verizon Wireless", None,
)  # fmt: skip
"""Some people's network never becomes known."""

BROADCASTS = (
    "Hi {name}! Can you make it on Saturday? Reply YES or NO. 🙌",
    "Polls close at 8 pm.\nBring ID & a friend.\n\nReply STOP to quit.",
    "It’s official: we won! 🎉 “Thank you” to all 1,200 of you.",
    'Rent due in < 5 days? Know your rights: http://lil.example.org/rent?a=1&b="2"',
    "Recordatorio: mañana a las 6 pm, calle Ocho. ¡Nos vemos! 👋🏽",
    " Doors open at 6. ",
    (
        "{name}, your shift starts at 9. Bring water, a hat, and the sign you painted. The bus "
        "leaves from the union hall at 8:15 sharp; if you miss it, call the desk and someone will "
        "fetch you."
    ),
    "The co-op is open till 7.\r\nToday: apples 2 for 1 🍎🍏\r\n",
    "{name} – don’t forget: “Fair Deal” vote tomorrow… C:\\> just kidding 😉",
)
"""What goes out; `{name}` is for the person's own."""
NEWS = "BREAKING: the strike is over. We won! ✊🏿 Details: http://lil.example.org/won"
"""What goes out to so many in one second."""

REPLIES = (
    "YES", "no", "Yes!! 💪", "I'm in & bringing my sister", "k", "¿A qué hora?", "STOP", "Stop ",
    "Can't make it :(", "who is this", "“maybe”", "Sí\nsí\nsí", " yes ", "👍", "JOIN", "join me",
    "218 Elm St, Apt #3", "02118", "jo@example.org", "", "  ", "null", "call me\r\nlater", "HELP",
    "‘later’", '"quoted" \\ and slashed /', "\ttab", "👩‍👩‍👧", "cafe\u0301", "line\u2028two", "3",
    "{\"a\": 1}", "\n\nhello?\n",
)  # fmt: skip
"""What comes in."""

NAMES = ("Joe", "Ana", "José", "Renée", "Mary Ann", "D’Andre", "Zoë", "李", "Łukasz", "friend")
