"""``textlift forget``: delete all rows about a person, and let later loads skip them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from textlift.cli import command, report
from textlift.errors import ConfigurationError
from textlift.load.forget import Dataset, Found, Person
from textlift.privacy.columns import KeyedHash, normalized_phone
from textlift.privacy.people import People
from textlift.privacy.policy import require_key
from textlift.registry import SERVICES, endpoints_of
from textlift.settings import privacy_keys


def main(argv: Sequence[str]) -> int:
    """Show or delete the rows about a person, and return the exit code."""
    options = _parse(argv)
    return command.run_private(lambda: _run(options))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="textlift forget",
        description="Show the number of rows about a person in each table, and delete them. Later "
        "loads and webhooks skip the person.",
        epilog="exit codes: 0 done; 1 failed; 2 usage or configuration, or not confirmed",
    )
    command.add_target(parser, optional=True)
    parser.add_argument(
        "--all-services", action="store_true", help="in the datasets of all services"
    )
    parser.add_argument("--sandbox", action="store_true", help="in the sandbox's data")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--phone", metavar="NUMBER", help="phone number, with its country code")
    who.add_argument("--id", metavar="ID", help="id that the service has given to the person")
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    options = parser.parse_args(argv)
    if not options.service and (options.id or not options.all_services):
        parser.error("name a service; or --all-services, with --phone")
    if options.dataset and options.all_services:
        parser.error("--dataset is the dataset of one service; leave --all-services out")
    return options


def _run(options: argparse.Namespace) -> int:
    keys = privacy_keys()
    require_key(keys[0] if keys else None, "textlift forget keeps a hash of who is erased")
    keyed = [KeyedHash(key.encode()) for key in keys]
    person = _person(options)
    services = [options.service] if options.service else []
    services += [each for each in SERVICES if options.all_services and each != options.service]
    found: dict[str, Found | str] = {}
    for service in services:
        rows = _dataset(service, options, keyed).find(person)
        if rows is not None:
            found[service] = rows
        if isinstance(rows, Found):
            # Only numbers mean the same at every service.
            person = Person(person.numbers | rows.person.numbers, {})
    if not found:
        raise ConfigurationError(
            f"Nothing was loaded of {', '.join(services)}.\nCheck --destination and --dataset."
        )
    for line in _lines(found):
        print(line)
    if not options.yes and not _confirmed():
        print("Nothing was deleted.")
        return command.UNUSABLE
    for service, rows in found.items():
        again = rows.person if isinstance(rows, Found) else _person(options)
        _dataset(service, options, keyed).forget(again)
    print("Deleted. Later loads skip this person. If you build models, build them again now.")
    return command.LOADED


def _person(options: argparse.Namespace) -> Person:
    """Return the person that the options name.

    Raises:
        ConfigurationError: The number cannot be one, or the service has no ids of people.
    """
    if options.phone:
        number = normalized_phone(options.phone)
        if not number.startswith("+"):
            raise ConfigurationError(
                "--phone is no phone number.\nWrite it with its country code: +12025550143."
            )
        return Person(frozenset({number}), {})
    kinds = People(endpoints_of(options.service)).tables
    if not kinds:
        raise ConfigurationError(f"{options.service} gives no ids to people.\nUse --phone.")
    return Person(frozenset(), {kind: frozenset({options.id}) for kind in kinds})


def _dataset(service: str, options: argparse.Namespace, keys: Sequence[KeyedHash]) -> Dataset:
    pipeline = command.open_pipeline(service, options)
    return Dataset(pipeline, service, People(endpoints_of(service)), keys)


def _lines(found: dict[str, Found | str]) -> Iterator[str]:
    for service, rows in found.items():
        if isinstance(rows, str):
            yield f"{service}: this destination is not changed from here. Run this SQL:"
            yield rows
            continue
        if not rows.counts:
            yield f"{service}: no rows"
            continue
        yield from report.columns(
            (service, "rows"), [(table, f"{count:,}") for table, count in rows.counts.items()]
        )
        if rows.others:
            yield (
                f"{service}: {rows.others} of the ids that had this number have another one now, and "
                "are not deleted. Use --id if they are the same person."
            )


def _confirmed() -> bool:
    """Return whether the user confirms.

    Raises:
        ConfigurationError: There is no terminal for the prompt.
    """
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty()):
        raise ConfigurationError("This must be confirmed.\nAdd --yes to do it.")
    return input("Delete these rows? [y/N] ").strip().lower() in ("y", "yes")
