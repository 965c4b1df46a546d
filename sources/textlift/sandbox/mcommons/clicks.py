"""Clicks on tiny URLs."""

from __future__ import annotations

from textlift.sandbox.clock import moment
from textlift.sandbox.dice import Dice
from textlift.sandbox.mcommons import words
from textlift.sandbox.mcommons.fixed import FixedRows
from textlift.sandbox.mcommons.ids import IDS, profile_id
from textlift.sandbox.mcommons.world import World
from textlift.sandbox.mcommons.xml import Row

_TINYURLS = (0, 0, 1, 0, 2, 1, 3, 0, 4, 1, 5)
"""Which tiny URL was clicked, by number, over and over."""


class Clicks:
    """Rows of clicks, by their numbers."""

    def __init__(self, world: World, fixed: FixedRows) -> None:
        self._world = world
        self._fixed = fixed
        self._dice = Dice(world.seed, "click")

    def tinyurl(self, number: int) -> int:
        """Which tiny URL was clicked."""
        return _TINYURLS[number % len(_TINYURLS)]

    def click(self, number: int) -> Row:
        """The row of a click."""
        return {
            **self._anonymous(number),
            "profile_id": profile_id(self._world.clicker(number)),
            "tinyurl_id": IDS["tinyurls"][self.tinyurl(number)],
        }

    def of_profile(self, profile: int) -> list[Row]:
        """The clicks of a profile, as they are printed in it."""
        return [self._anonymous(number) for number in self._world.clicks_of(profile)]

    def _anonymous(self, number: int) -> Row:
        dice = self._dice.throw(number)
        tinyurl = self._fixed["tinyurls"][self.tinyurl(number)]
        return {
            "id": IDS["clicks"][number],
            "created_at": moment(self._world.clicks.time(number)),
            "url": tinyurl["url"],
            "clicked_url": f"http://{tinyurl['host']}/{tinyurl['key']}",
            "remote_addr": f"192.0.2.{dice[0]}",
            "http_referer": f"http://www.example.org/?q={dice[1]}&r=sms" if dice[2] < 60 else None,
            "user_agent": words.AGENTS[dice[3] % len(words.AGENTS)] or None,
        }
