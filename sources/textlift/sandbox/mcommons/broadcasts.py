"""What becomes of the broadcasts of an account: how many people get each, and what these do.

A broadcast is planned before it happens, so that its messages, the people who answer, click or opt
out, and its counts agree, although they are invented apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from random import Random
from typing import NamedTuple

from textlift.sandbox.tables import CROWDED_DAY, CROWDED_HOUR, DAY, YEAR

ANSWERED, CLICKED = 1 / 5, 1 / 8
"""Shares of the messages of all broadcasts that are answered, and that lead to a click."""
_STOPPED = 1 / 40
"""The share that is answered by STOP."""
_LATEST = 20 * DAY
"""How long after the message the last answer comes."""
_LATE = 0.1
"""The share of answers that come at any time until then. Most of the others come in an hour."""
FAILING, _BAD_FAILING = 0.03, 0.85
"""The shares of messages that fail on other days and on a bad day, of those nobody answers."""
_BAD = (0.34, 0.8)
"""Where in a year, from 0 to 1, there are broadcasts that are delivered on a bad day."""


class Reaction(NamedTuple):
    """What one recipient does, some seconds after the delivery of the broadcast."""

    place: int
    after: int
    stops: bool = False


class Broadcast(NamedTuple):
    """What becomes of a broadcast.

    number: counts all broadcasts.
    time: when it is delivered.
    sent: seconds after that, for the message to each recipient.
    first: where among the subscribers, from 0 to 1, the first recipient is.
    failing: how likely a message fails that nobody answers.
    answers, clicks: in no order.
    """

    number: int
    time: int
    sent: Sequence[int]
    first: float
    failing: float
    answers: Sequence[Reaction]
    clicks: Sequence[Reaction]


def planned(
    seed: str,
    start: int,
    deliveries: Iterator[list[int]],
    messages: Callable[[int], int],
    weights: Sequence[float],
) -> Iterator[Broadcast]:
    """The broadcasts of an account in the order of their numbers, planned a year at a time.

    deliveries: times of each year.
    messages: how many messages the broadcasts of a year, counted from 0, send together.
    weights: how large the audiences of the broadcasts are, over and over.
    """
    random, number, before = Random(seed), 0, 0
    crowded = range(start + CROWDED_DAY * DAY, start + (CROWDED_DAY + 1) * DAY)
    for year, times in enumerate(deliveries):
        # In the first year, there are more subscribers from day to day.
        sizes = [
            weights[place % len(weights)]
            * (0.3 + random.random())
            * min(1, (time - start) / YEAR + 0.01)
            for place, time in enumerate(times, number)
        ]
        totals = range(before, before := before + messages(year))
        yield from _year(random, number, times, sizes, totals, crowded)
        number += len(times)


def _year(
    random: Random,
    number: int,
    times: Sequence[int],
    sizes: list[float],
    totals: range,
    crowded: range,
) -> Iterator[Broadcast]:
    crowd = [place for place, time in enumerate(times) if time in crowded]
    others = [place for place, time in enumerate(times) if time not in crowded]
    bad = set()
    if others:
        for begin in (int(len(others) * part) for part in _BAD):
            # A large one of several in a row.
            bad.add(max(others[begin : begin + 5], key=sizes.__getitem__))
    for place in bad:
        sizes[place] *= 1.5
    # The crowded day has a fifth of all messages, and as many in one second as `years` has.
    rest, crowd_size = (sum(sizes[place] for place in places) for places in (others, crowd))
    for place in crowd:
        sizes[place] *= rest / 4 / crowd_size
    burst = crowded[CROWDED_HOUR * 3600]
    at_once = min(300, len(totals) // 13) // max(1, times.count(burst))

    recipients = _parts(len(totals), sizes)

    def reacting(share: float, likings: Sequence[float]) -> list[int]:
        # What is not one in a year adds up over the years.
        total = int(totals.stop * share) - int(totals.start * share)
        weights = [size * liking for size, liking in zip(recipients, likings, strict=True)]
        # Where all is small, a part can be larger than its broadcast.
        return list(map(min, recipients, _parts(total, weights)))

    appeals = [0.2 + 1.8 * random.random() ** 2 for _ in times]
    answers = reacting(
        ANSWERED,
        [each / 10 if place in bad else each for place, each in enumerate(appeals)],
    )
    stops = reacting(_STOPPED, [0.2 + 4 * random.random() ** 6 for _ in times])
    clicks = reacting(CLICKED, [0.1 + random.random() ** 2 for _ in times])
    for place, time in enumerate(times):
        size = recipients[place]
        if time in crowded:
            left = crowded.stop - time
            sent = [int(random.random() * left) for _ in range(size)]
            if time == burst:
                sent[:at_once] = [0] * min(at_once, size)
        else:
            lasting = 300 + int(1500 * random.random())
            sent = [lasting * one // size for one in range(size)]
        pace = 120 + int(1500 * random.random() ** 2)
        yield Broadcast(
            number + place,
            time,
            sent,
            random.random(),
            _BAD_FAILING if place in bad else FAILING,
            [
                Reaction(one, _after(random, sent[one], pace), count < stops[place])
                for count, one in enumerate(random.sample(range(size), answers[place]))
            ],
            [
                Reaction(one, _after(random, sent[one], pace))
                for one in random.sample(range(size), clicks[place])
            ],
        )


def _parts(total: int, weights: Sequence[float]) -> list[int]:
    """A number in parts of these weights, rounded so that they sum up to it."""
    sums = [0.0, *accumulate(weights)]
    whole = sums[-1] or 1
    return [int(total * end / whole) - int(total * begin / whole) for begin, end in pairwise(sums)]


def _after(random: Random, sent: int, pace: int) -> int:
    """When a recipient reacts: half of those who do so at once do it within the pace."""
    chance = random.random()
    delay = 20 + int(pace * chance / (1 - chance))
    if random.random() < _LATE:
        delay = int(random.random() * _LATEST)
    return min(sent + max(20, delay), _LATEST)
