"""What a run leaves on the disk is for its owner, and nothing of it is shared with another clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Open, Warehouse, readable_by_others
from tests.support.commands import LOADED, PATIENCE, UNUSABLE, environment, run, two_lines

OPEN_TO_ALL = 0o022


def clone(folder: Path) -> Path:
    """A clone of the project, as far as it runs."""
    for name in ("pipelines", "sources"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".dlt").mkdir()
    shutil.copy(PROJECT / ".dlt" / "config.toml", folder / ".dlt")
    return folder


def run_in(folder: Path, warehouse: Warehouse, *options: str) -> tuple[int, str]:
    """Run the command line of a clone, with nothing configured but the service."""
    ended = subprocess.run(
        [sys.executable, "pipelines/mcommons.py", "--resources", "tags", *options],
        check=False,
        cwd=folder,
        env=environment(
            warehouse,
            DESTINATION__DUCKDB__CREDENTIALS=None,
            PIPELINES_DIR=None,
            DLT_DATA_DIR=str(folder.parent / "shared"),
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        umask=OPEN_TO_ALL,
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("options", [(), ("--sandbox",)], ids=["live", "sandbox"])
def test_clones_share_nothing_and_only_their_owner_can_read_what_they_make(
    account: Open, tmp_path: Path, options: tuple[str, ...]
) -> None:
    warehouse = account()
    for name in ("one", "two"):
        folder = clone(tmp_path / name)
        before = set(folder.rglob("*"))
        assert run_in(folder, warehouse, *options) == (LOADED, "")
        made = set(folder.rglob("*")) - before
        made = {path for path in made if "__pycache__" not in path.parts}
        pipeline = "mcommons_sandbox" if options else "mcommons"
        assert folder / ".dlt" / "pipelines" / pipeline / "state.json" in made
        assert any(path.suffix == ".duckdb" for path in made)
        assert made & set(readable_by_others(folder)) == set()
    assert not (tmp_path / "shared").exists()


def test_a_folder_that_is_configured_is_used(account: Open) -> None:
    warehouse = account()
    assert run(warehouse, "--resources", "tags").code == LOADED
    assert (warehouse.state / "mcommons" / "state.json").is_file()
    warehouse.state = warehouse.folder / "another"
    settings = {"PIPELINES__MCOMMONS__PIPELINES_DIR": str(warehouse.state), "PIPELINES_DIR": None}
    assert run(warehouse, "--resources", "tags", **settings).code == LOADED
    assert (warehouse.state / "mcommons" / "state.json").is_file()


def test_a_folder_that_cannot_be_made_is_named(account: Open, tmp_path: Path) -> None:
    warehouse = account()
    folder = tmp_path / "here"
    (folder / ".dlt").mkdir(parents=True)
    (folder / ".dlt" / "pipelines").touch()
    ended = run(warehouse, cwd=folder, PIPELINES_DIR=None)
    what, advice = two_lines(ended.err)
    assert f"{folder}/.dlt/pipelines cannot be made" in what
    assert "PIPELINES_DIR" in advice
    assert (ended.code, warehouse.box.requests) == (UNUSABLE, [])


def test_a_library_leaves_the_rights_of_files_to_its_user(account: Open) -> None:
    warehouse = account()
    before = os.umask(OPEN_TO_ALL)
    try:
        warehouse.load("tags")
    finally:
        os.umask(before)
    assert warehouse.file.stat().st_mode & 0o777 == 0o644


def test_the_command_that_copies_secrets_keeps_them_from_others(tmp_path: Path) -> None:
    readme = (PROJECT / "README.md").read_text()
    command = re.search(r"^install .*secrets\.toml\.example.*", readme, re.MULTILINE)
    assert command
    shutil.copytree(PROJECT / ".dlt", tmp_path / ".dlt", ignore=shutil.ignore_patterns("pipelines"))
    (tmp_path / ".dlt" / "secrets.toml").unlink(missing_ok=True)
    subprocess.run(command[0], shell=True, check=True, cwd=tmp_path, umask=OPEN_TO_ALL)
    assert (tmp_path / ".dlt" / "secrets.toml").stat().st_mode & 0o777 == 0o600


def test_git_ignores_what_a_run_leaves() -> None:
    left = ["textlift.duckdb", "textlift.duckdb.wal", "textlift.duckdb.lock", ".dlt/secrets.toml"]
    left += [".dlt/pipelines/mcommons/state.json", ".dlt/pipelines/mcommons.lock"]
    done = subprocess.run(
        ["git", "check-ignore", *left], check=False, cwd=PROJECT, capture_output=True, text=True
    )
    assert done.stdout.split() == left
