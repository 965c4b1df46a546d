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
    "Joe", "Ana", "José", "Renée", "Mary Ann", "D'Andre", "Zoë", "Nguyễn", "Siobhán", "Łukasz",
    "Amélie", "Jürgen", "Chloë", "Søren", "Ifeoma", "Priya", "Wei", "Fatima", "Jean-Luc", "Aisha",
    "Björn", "Carmen", "Dmitri", "Esther", "François", "Gwen", "Hana", "Íñigo", "Jamal", "Keiko",
    "Leticia", "Malik", "Noor", "Oluwaseun", "Paul & Pat", "Quinn", "Rosa", "Søs", "Tomás", "李",
)  # fmt: skip
LAST_NAMES = (
    "O'Neil", "Smith & Sons", "Núñez", "García", "Müller", "van der Berg", "Okafor", "Lee",
    "D’Souza", "Kowalska", "Ó Briain", "St. John", "Johnson-Reyes", "Nakamura", "Åberg", "Patel",
    "Ferreira", "Brown", "Haddad", "Ivanova", "McAllister", "Ruiz ", " Chen", "Washington",
    "Dubois", "Yıldız", "Papadopoulos", "Silva", "Thompson", "Nowak", "Castillo", "“Red” Miller",
    "Tran", "Ali", "Fox",
)  # fmt: skip
STREETS = (
    "12 Elm St", "400 Main St ", "1 King's Way", "77 A & B Road", "9 Rue de l’Église",
    "3100 5th Ave", "218 Oak Lane", " 5 Harbor Dr", "64 Maple <rear>", "15 MLK Jr Blvd",
    "880 Union Sq", "27 Calle Ocho",
)  # fmt: skip
STREETS_2 = (None, None, None, "Apt 1", "#4315", "c/o Local 32", 'Suite "B"', "2nd floor")

NOWHERE = Place(None, None, None, None, None, None, None)
PLACES = (
    Place("Washington", "DC", "20001", "US", 38.906639, -77.016577, "DC-1"),
    Place("Fort Worth", "TX", "76104", "US", 32.735247, -97.324103, "TX-12"),
    Place("San Mateo", "CA", "94401", "US", 37.573485, -122.32253, "CA-14"),
    Place("Brooklyn", "NY", "11222", "US", 40.728088, -73.955134, "NY-7"),
    Place("Cañon City", "CO", "81212", "US", 38.44098, -105.24245, "CO-5"),
    Place("Boston", "MA", "02118", "US", 42.337582, -71.070482, "MA-7"),
    Place("O'Fallon", "MO", "63366", "US", 38.810608, -90.699848, "MO-3"),
    Place("Chicago", "IL", "60622", "US", 41.902219, -87.678223, "IL-5"),
    Place("Española", "NM", "87532", "US", 35.991128, -106.080587, "NM-3"),
    Place("Seattle", "WA", "98103", "US", 47.671346, -122.341432, "WA-7"),
    Place("Miami", "FL", "33130", "US", 25.767368, -80.205937, "FL-27"),
    Place("Detroit", "MI", "48226", "US", 42.331685, -83.047993, "MI-13"),
)
PRECISIONS = ("state", "place", "postal_code", "range_interpolation", "street")

CARRIERS = (
    "Verizon Wireless",
    "AT&T",
    "T-Mobile",
    "Sprint (Sprint PCS)",
    "U.S. Cellular",
    None,
)

CAMPAIGNS = (
    Campaign("Master Campaign", "", ()),
    Campaign("Members & Friends", "Everyone on our list", ("gotv", "members")),
    Campaign("Strike Fund", "Updates on the “Fair Deal” strike", ("labor",)),
    Campaign("Rapid Response", "", ("actions", "gotv")),
    Campaign("Tenants' Rights", "Know your rights,\nknow your neighbors", ()),
    Campaign("Clínica Móvil", "Avisos en español", ("es",)),
    Campaign("Book Club <3", "A book a month", ()),
    Campaign("Volunteers", "Shifts and rides", ("members",)),
    Campaign("Shop Alerts", "Offers of the co-op shop", ()),
    Campaign("Climate 2030", "", ("actions",)),
    Campaign("Alumni", "", ()),
    Campaign("Winter Appeal", "Ended", ("fundraising",)),
)

KEYWORDS = (
    "JOIN", "STRIKE", "MEMBERS", "GOTV", "RENT", "SALUD", "READ", "SHIFT", "COOP", "2030",
    "ALUM", "GIVE",
)  # fmt: skip

GROUPS = (
    ("Import of June", "UploadedGroup"),
    ("Donors & Pledgers", "FilteredGroup"),
    ("Local 32", "UploadedGroup"),
    ("Speaks Español", "FilteredGroup"),
    ("Turned out in 2023", "UploadedGroup"),
    ("Don't call", "UploadedGroup"),
    ("East side", "FilteredGroup"),
    ("Staff", "UploadedGroup"),
)
HINTS = {1: "Gave or pledged & not opted out", 6: "Zip codes 11201 to 11239"}
"""What some groups say of themselves, by their number."""

BODIES = (
    "Hi {name}! Can you make it on Saturday? Reply YES or NO. 🙌",
    "Polls close at 8 pm.\nBring ID & a friend.\n\nReply STOP to quit.",
    "It’s official: we won! 🎉 “Thank you” to all 1,200 of you.",
    "Rent is due < 5 days? Know your rights: http://lil.example.org/rent?a=1&b=2",
    "Recordatorio: mañana a las 6 pm, calle Ocho. ¡Nos vemos! 👋🏽",
    (
        "{name}, your shift starts at 9. Bring water, a hat, and the sign you painted. The bus "
        "leaves from the union hall at 8:15 sharp; if you miss it, call the desk and someone will "
        "fetch you."
    ),
    "Please reply with your full address.",
    "Will you call your senator today? Reply CALL to be connected.",
    "The co-op is open till 7. Today: apples 2 for 1 🍎🍏",
    " Doors open at 6. ",
)
REPLIES = (
    ("opt_out_receipt", "You are unsubscribed and will get no more texts. Reply HELP for help."),
    ("help_response", "Help: example.org/help or 1-202-555-0100. Msg&data rates may apply."),
    ("regular_text", "Welcome! You'll get 4 msgs/month. Reply STOP to quit, HELP for help."),
    ("regular_text", "Thanks, got it!"),
)
"""Types and bodies of what goes out in answer to an incoming message."""
FATES = (*("sent",) * 12, "undeliverable", "failed permanently")
"""What becomes of an outgoing message."""
INCOMING: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("reply", ("YES", "no", "Yes!! 💪", "I'm in & bringing my sister", "k", "¿A qué hora?")),
    ("reply", ("Can't make it :(", "who is this", "“maybe”", "Sí\nsí\nsí", " yes ", "👍")),
    (
        "info_response",
        ("218 Elm St, Apt #3", "02118", "jo@example.org", "O'Fallon, MO", "n/a", "?"),
    ),
    ("opt_in", ("JOIN", "join", "Join ", "JOIN!", "join me", "JOIN")),
    ("opt_out", ("stop", "STOP", "Stop", "STOP please", "unsubscribe", "quit")),
    ("unmatched", ("", "asdf", "<3", "lol & bye", "call me\r\nlater", "🤷")),
    ("help_request", ("HELP", "help", "Help?", "HELP", "help me", "HELP")),
    ("question_response", ("A", "B", "C", "1", "2", "3")),
)
"""Types and bodies of what comes in."""
OUTGOING_TYPES = (
    "regular_text",
    "regular_text",
    "regular_text",
    "info_request",
    "question",
    "call_in_request",
    "generic",
)
"""The last is in no list of the vendor's."""

COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Age", ("34", "71", "18", "", "forty-two", "55")),
    ("Favorite animal", ("cat", "dog & cat", "ñandú", "", "“platypus”", "bee 🐝")),
    ("Yes/NO", ("yes", "no", "", "Yes", "NO", "y")),
    ("Language", ("English", "Español", "", "中文", "English", "Kreyòl")),
    ("T-shirt size", ("S", "M", "L", "XL", "", "3XL")),
    ("Union local", ("32", "1199", "", "n/a", "7 & 9", "100")),
    ("Volunteer's shift", ("Mon 9:00", "Tue <noon>", "", "weekends", "any", "Fri")),
    ("Issue: rent & wages", ("both", "rent", "wages", "", "rent\nand wages", "neither")),
    ("Rides offered?", ("2", "0", "", "4", "maybe", "1")),
)  # fmt: skip
"""Custom columns and their values. The first four exist from the start."""

MCONNECTS = ("Call your senator", "Ask the hotline", "City council: rents & repairs")
TINYURLS = (
    ("Petition", "http://www.example.org/petition?lang=en&src=sms", "petition"),
    ("Rent guide", "http://www.example.org/rent", "rent"),
    ("Donate", "https://give.example.org/winter?amount=5&amp=1", "give"),
    ("Poll places", "http://www.example.com/vote#map", "vote"),
    ("Guía de salud", "http://www.example.org/salud/móvil", "salud"),
    ("Sign-up", "http://www.example.com/", "1"),
)
AGENTS = (
    "Mozilla/4.0 (compatible; MSIE 7.0)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36",
    None,
)
LEGISLATORS = (
    ("John", "Senator", "democrat", "Junior Seat"),
    ("María", "O'Hara", "republican", "Senior Seat"),
    ("Lee", "Núñez", "independent", "7"),
)
CALL_STATUSES = ("completed", "no answer", "busy", "completed", "failed", "completed")
MDATA_INPUTS = ("94401", "11222", "rent", "zjgbs5 gdfetw", "02118", "shift & ride")
MDATA_OUTPUTS = (
    "Your polling place: City Hall, 1 Main St",
    "Polling place: “Old Mill” School",
    "Call the tenants' line: 1-202-555-0111",
    "Nobody knows zjgbs5; try <help>",
    "Your polling place: Union Hall",
    "Saturday 9:00, bus at 8:15",
)
MDATA_NOTHING = "There were no results for your search"
VOICEMAIL = "Hi, it's about the rent & heat…\nPlease call back."
ATTACHMENTS = ("diag", "Sunrise & sea", "flyer “final”.pdf")
