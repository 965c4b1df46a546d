"""Invented people, places and texts. 555 numbers and example addresses only."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where somebody lives."""

    city: str | None
    state: str | None
    postal_code: str | None
    country: str | None
    latitude: float | None
    longitude: float | None
    district: str | None


class Campaign(NamedTuple):
    """What a campaign is called."""

    name: str
    description: str
    tags: tuple[str, ...]


FIRST_NAMES = (
    *("Joe", "Ana", "José", "Renée", "Mary Ann", "D'Andre", "Zoë", "Nguyễn", "Łukasz"),
    *("Søren", "Jean-Luc", "Íñigo", "Paul & Pat", "Rosa", "李"),
)
LAST_NAMES = (
    *("O'Neil", "Smith & Sons", "Núñez", "van der Berg", "D’Souza", "Lee", "St. John", "Åberg"),
    *("Ruiz ", " Chen", "Yıldız", "“Red” Miller", "Johnson-Reyes"),
)
STREETS = (
    *("12 Elm St", "400 Main St ", "77 A & B Road", "9 Rue de l’Église", " 5 Harbor Dr"),
    *("64 Maple <rear>", "1 King's Way"),
)
STREETS_2 = (None, None, None, "Apt 1", "#4315", "c/o Local 32", 'Suite "B"')
NOWHERE = Place(None, None, None, None, None, None, None)
PLACES = (
    Place("Washington", "DC", "20001", "US", 38.906639, -77.016577, "DC-1"),
    Place("San Mateo", "CA", "94401", "US", 37.573485, -122.32253, "CA-14"),
    Place("Brooklyn", "NY", "11222", "US", 40.728088, -73.955134, "NY-7"),
    Place("Cañon City", "CO", "81212", "US", 38.44098, -105.24245, "CO-5"),
    Place("Boston", "MA", "02118", "US", 42.337582, -71.070482, "MA-7"),
    Place("O'Fallon", "MO", "63366", "US", 38.810608, -90.699848, "MO-3"),
)
PRECISIONS = ("state", "place", "postal_code", "range_interpolation", "street")
CARRIERS = ("Verizon Wireless", "AT&T", "T-Mobile", "Sprint (Sprint PCS)", None)

CAMPAIGNS = (
    Campaign("Master Campaign", "", ()),
    Campaign("Members & Friends", "Everyone on our list", ("gotv", "members")),
    Campaign("Strike Fund", "Updates on the “Fair Deal” strike", ("labor",)),
    Campaign("Rapid Response", "", ("actions", "gotv")),
    Campaign("Tenants' Rights", "Know your rights,\nknow your neighbors", ()),
    Campaign("Clínica <3 Móvil", "Avisos en español", ("es",)),
)
KEYWORDS = ("JOIN", "STRIKE", "MEMBERS", "GOTV", "RENT", "SALUD", "2030")
GROUPS = (
    ("Import of June", "UploadedGroup", None),
    ("Donors & Pledgers", "FilteredGroup", "Gave or pledged & not opted out"),
    ("Local 32", "UploadedGroup", None),
    ("Speaks Español", "FilteredGroup", None),
    ("Don't call", "UploadedGroup", None),
    ("Staff", "UploadedGroup", None),
)
"""Name, type and hint."""
MCONNECTS = ("Call your senator", "Ask the hotline", "City council: rents & repairs")
TINYURLS = (
    ("Petition", "http://www.example.org/petition?lang=en&src=sms", "petition"),
    ("Donate", "https://give.example.org/winter?amount=5&amp=1", "give"),
    ("Poll places", "http://www.example.com/vote#map", "vote"),
    ("Guía de salud", "http://www.example.org/salud/móvil", "salud"),
)
MDATA_ANSWERS = {
    "94401": "Your polling place: City Hall, 1 Main St",
    "11222": "Polling place: “Old Mill” School",
    "rent": "Call the tenants' line: 1-202-555-0111",
    "zjgbs5 gdfetw": "Nobody knows zjgbs5; try <help>",
    "shift & ride": "Saturday 9:00, bus at 8:15",
}
ATTACHMENTS = ("diag", "Sunrise & sea", "flyer “final”.pdf")

BODIES = (
    "Hi {name}! Can you make it on Saturday? Reply YES or NO. 🙌",
    "Polls close at 8 pm.\nBring ID & a friend.\n\nReply STOP to quit.",
    "It’s official: we won! 🎉 “Thank you” to all 1,200 of you.",
    "Rent is due < 5 days? Know your rights: http://lil.example.org/rent?a=1&b=2",
    "Recordatorio: mañana a las 6 pm, calle Ocho. ¡Nos vemos! 👋🏽",
    (
        "{name}, your shift starts at 9. Bring water, a hat, and the sign you painted. The bus "
        "leaves at 8:15 sharp; if you miss it, call the desk and someone will fetch you."
    ),
    " Doors open at 6. ",
)
"""What goes out with a broadcast."""
TYPES = ("regular_text", "regular_text", "info_request", "question", "call_in_request", "generic")
"""The types of that; the last is in no list of the vendor's."""
REPLIES = (
    ("opt_out_receipt", "You are unsubscribed and will get no more texts. Reply HELP for help."),
    ("help_response", "Help: example.org/help or 1-202-555-0100. Msg&data rates may apply."),
    ("regular_text", "Thanks, got it!"),
)
"""Types and bodies of what goes out in answer to an incoming message."""
FATES = (*("sent",) * 12, "undeliverable", "failed permanently")
"""What becomes of an outgoing message."""
INCOMING: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("reply", ("YES", "no", "Yes!! 💪", "I'm in & bringing my sister", "Sí\nsí\nsí", " yes ")),
    ("info_response", ("218 Elm St, Apt #3", "02118", "jo@example.org", "O'Fallon, MO", "?")),
    ("opt_in", ("JOIN", "join", "Join ", "join me")),
    ("opt_out", ("stop", "STOP", "Stop", "unsubscribe")),
    ("unmatched", ("", "asdf", "<3", "lol & bye", "call me\r\nlater", "🤷")),
    ("help_request", ("HELP", "help", "Help?")),
)
"""Types and bodies of what comes in."""

COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Age", ("34", "71", "18", "forty-two", "55")),
    ("Favorite animal", ("cat", "dog & cat", "ñandú", "“platypus”", "bee 🐝")),
    ("Yes/NO", ("yes", "no", "Yes", "NO", "y")),
    ("Language", ("English", "Español", "中文", "Kreyòl")),
    ("Volunteer's shift", ("Mon 9:00", "Tue <noon>", "weekends", "any")),
    ("Issue: rent & wages", ("both", "rent", "rent\nand wages", "neither")),
)
"""Custom columns and their values. The first four exist from the start."""
AGENTS = (
    "Mozilla/4.0 (compatible; MSIE 7.0)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
    None,
)
LEGISLATORS = (
    ("John", "Senator", "democrat", "Junior Seat"),
    ("María", "O'Hara", "republican", "Senior Seat"),
    ("Lee", "Núñez", "independent", "7"),
)
VOICEMAIL = "Hi, it's about the rent & heat…\nPlease call back."
