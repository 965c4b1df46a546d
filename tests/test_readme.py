"""The README and the pages of docs: commands, queries, settings and links are as they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path

import duckdb as duckdb_client
import pytest
import tomlkit

from tests.conftest import PROJECT, TODAY, Open, Warehouse, slow_but
from tests.support.documents import fences, page
from tests.support.services import warehouse_of
from textlift.cli.demo import ACROSS
from textlift.dictionary import SHARED_TABLES, all_tables
from textlift.mcommons import mcommons_source
from textlift.messangi import messangi_source
from textlift.mgage import mgage_source
from textlift.mobiniti import mobiniti_source
from textlift.registry import SERVICES, job_of
from textlift.sandbox import Sandbox
from textlift.sandbox.textme import TextMe

SOURCES = {
    "mcommons": mcommons_source,
    "messangi": messangi_source,
    "mgage": mgage_source,
    "mobiniti": mobiniti_source,
}
#: Languages of fences: those that are run here or read, and those that are not.
LANGUAGES = {"sh", "sql", "python", "toml"} | {"shell", "crontab", "ini", "nginx", "yaml"}
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md"))]
#: Longest wait for the commands of a page, in seconds.
PATIENCE = 300


def with_fences(*languages: str) -> list[str]:
    return [name for name in PAGES if any(fences(page(name), one) for one in languages)]


@pytest.fixture
def filled(
    account: Open,
    export: Open,
    contacts: Open,
    instance: Open,
    boxes: list[Sandbox],
    tmp_path: Path,
) -> Warehouse:
    """A warehouse of all services, as the one that Mobile Commons is in."""
    messages = export(messages=600)
    messages.load()
    contacts().load("contacts", "groups", "group_contacts", "messages", "carriers", "unsubscribes")
    instance().load("messages", "broadcasts")
    boxes.append(Sandbox(TextMe(now=TODAY, people=60)))
    boxes[-1].start()
    warehouse_of("textme", boxes[-1], tmp_path).load("campaigns", "subscriptions")
    warehouse = account(profiles=300)
    warehouse.load("profiles", "incoming_messages", "outgoing_messages", "broadcasts")
    return warehouse


@pytest.mark.real_clock
@pytest.mark.parametrize("name", slow_but(slice(1), with_fences("sh")))
def test_the_commands_of_a_page_run_in_their_order(
    name: str, account: Open, export: Open, contacts: Open, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    settings = {
        "SOURCES__MCOMMONS__BASE_URL": account(profiles=60).box.url,
        "SOURCES__MGAGE__BASE_URL": export(messages=300).box.url,
        "SOURCES__MOBINITI__BASE_URL": contacts(contacts=30).box.url,
        "SOURCES__MOBINITI__REQUESTS_PER_SECOND": "1000",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT / "sources"),
    }
    for block in fences(page(name), "sh"):
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            check=False,
            cwd=here,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ended.returncode == 0, f"{block}\n{ended.stdout}\n{ended.stderr}"


def test_every_query_runs_and_the_examples_find_something(filled: Warehouse) -> None:
    with filled.reading() as connection:
        connection.execute("USE main")
        # Those on docs/queries.md need the models: tests/models runs them.
        for name in set(with_fences("sql")) - {"docs/queries.md", "docs/models.md"}:
            for each in fences(page(name), "sql"):
                if "read_parquet" in each:
                    continue
                rows = connection.execute(each).fetchall()
                assert rows or "rejected_records" in each, each


def test_the_queries_of_the_readme_are_among_the_examples() -> None:
    examples = fences(page("docs/queries.md"), "sql")
    assert set(fences(page("README.md"), "sql")) <= set(examples)


def test_the_query_of_the_demo_is_among_the_examples() -> None:
    assert f"{ACROSS}\n" in fences(page("docs/queries.md"), "sql")


@pytest.mark.real_clock
def test_the_example_of_the_library_loads(account: Open, tmp_path: Path) -> None:
    service = account().box
    [example] = fences(page("docs/library.md"), "python")
    settings = {
        "SOURCES__MCOMMONS__BASE_URL": service.url,
        "PYTHONPATH": str(PROJECT / "sources"),
    }
    subprocess.run(
        [sys.executable, "-c", example],
        check=True,
        cwd=tmp_path,
        env={**os.environ, **settings},
        timeout=PATIENCE,
    )
    with duckdb_client.connect(str(tmp_path / "texting.duckdb"), read_only=True) as connection:
        counted = connection.execute("SELECT count(*) FROM mcommons.profiles").fetchone()
    assert counted == (len(service.service.rows("profiles")),)


@pytest.mark.parametrize("name", with_fences("toml"))
def test_a_file_of_settings_names_settings_of_the_source(name: str) -> None:
    for block in fences(page(name), "toml"):
        for service, settings in tomlkit.parse(block)["sources"].items():
            assert set(settings) <= set(signature(job_of(service).source).parameters)


@pytest.mark.parametrize("service", SERVICES)
def test_the_configuration_table_holds_the_settings_of_the_source_and_no_others(
    service: str,
) -> None:
    title = re.escape(job_of(service).title)
    table = re.search(rf"## {title}\n\n((?:\|.*\n)+)", page("docs/configuration.md"))
    assert table
    keys = {
        key for line in table[1].splitlines() for key in re.findall(r"`([^`]+)`", line[:60])[:1]
    }
    named = {key.partition(".")[0] for key in keys}
    by_command_line = {"since", "until", "package_rows", "isolate_failures"}
    assert named == set(signature(job_of(service).source).parameters) - by_command_line


def test_the_tables_in_brief_are_all_tables() -> None:
    section = page("README.md").partition("## Tables in brief")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named: set[str] = set()
    for cell in first:
        names = re.findall(r"`([^`]+)`", cell)
        named |= {name if "__" not in name else names[0].partition("__")[0] for name in names}
    roots = {
        f"{service}.{table.name}"
        for service in SERVICES
        for table in all_tables(job_of(service).endpoints)
        if "__" not in table.name and table not in SHARED_TABLES
    }
    assert named == roots | {table.name for table in SHARED_TABLES}


@pytest.mark.parametrize("name", [*PAGES, "CONTRIBUTING.md"])
def test_every_fence_has_a_language_of_which_is_known_whether_it_runs(name: str) -> None:
    opened = re.findall(r"^ *```(\w*)$", page(name), re.MULTILINE)[::2]
    assert set(opened) <= LANGUAGES


@pytest.mark.parametrize("name", [*PAGES, "CONTRIBUTING.md"])
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page(name)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (PROJECT / name).parent / path if path else PROJECT / name
        assert linked.is_file(), target
        if anchor:
            assert anchor in anchors(linked.read_text()), target


def anchors(text: str) -> set[str]:
    """Names of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked_from_the_readme() -> None:
    readme = page("README.md")
    for name in PAGES[1:]:
        assert f"]({name})" in readme, name


def test_every_target_of_make_is_there() -> None:
    makefile = page("Makefile")
    for name in (*PAGES, "CONTRIBUTING.md"):
        for target in re.findall(r"(?:^|`)make ([a-z+-]+)", page(name), re.MULTILINE):
            if re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE):
                continue
            # The rule for suites takes names of folders.
            suites = target.removeprefix("test-").split("+")
            assert target.startswith("test-"), target
            assert all(PROJECT.joinpath("tests", suite).is_dir() for suite in suites), target
