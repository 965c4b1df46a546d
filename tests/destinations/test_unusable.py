"""A destination that cannot be loaded: one line that says what to do, before any request."""

from __future__ import annotations

from pathlib import Path

import duckdb as duckdb_client
import pytest

from tests.conftest import Open, Warehouse
from tests.support.commands import FAILED, LOADED, UNUSABLE, Ended, run, two_lines

UNREACHABLE = "postgresql://somebody:secret-password@127.0.0.1:1/texting"
S3 = {
    "DESTINATION__FILESYSTEM__BUCKET_URL": "s3://bucket/lake",
    "DESTINATION__FILESYSTEM__CREDENTIALS__AWS_ACCESS_KEY_ID": "somebody",
    "DESTINATION__FILESYSTEM__CREDENTIALS__AWS_SECRET_ACCESS_KEY": "secret-password",
}


def without(folder: Path, *packages: str) -> dict[str, str]:
    """Settings of an environment in which packages are not installed."""
    for name in packages:
        (folder / "none" / name).mkdir(parents=True)
        error = f"raise ModuleNotFoundError('No module named {name}', name={name!r})\n"
        (folder / "none" / name / "__init__.py").write_text(error)
    return {"PYTHONPATH": str(folder / "none")}


def both(warehouse: Warehouse, *options: str, **changes: str) -> list[Ended]:
    """What a run says, which asks the service for nothing; and what a check says."""
    loaded = run(warehouse, *options, **changes)
    assert warehouse.box.requests == []
    checked = run(warehouse, *options, "--check", **changes)
    assert "the credentials are accepted" in checked.out
    for ended in (loaded, checked):
        assert "secret-password" not in ended.out + ended.err
    return [loaded, checked]


@pytest.mark.parametrize("name", ["postgres", "postgresql"])
def test_a_server_that_cannot_be_reached(account: Open, name: str) -> None:
    settings = {"DESTINATION__POSTGRES__CREDENTIALS": UNREACHABLE}
    for ended in both(account(empty=True), "--destination", name, **settings):
        said, advice = two_lines(ended.err)
        assert "postgres cannot be used" in said
        assert 'server at "127.0.0.1", port 1 failed' in said
        assert "DESTINATION__POSTGRES__" in advice
        assert ended.code == FAILED


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("postgres", "psycopg2", "postgres"),
        ("delta", "deltalake", "deltalake"),
        ("iceberg", "pyiceberg", "pyiceberg"),
    ],
)
def test_a_client_that_is_not_installed(
    account: Open, tmp_path: Path, name: str, package: str, extra: str
) -> None:
    settings = {
        **without(tmp_path, package),
        "DESTINATION__POSTGRES__CREDENTIALS": UNREACHABLE,
        "DESTINATION__FILESYSTEM__BUCKET_URL": str(tmp_path / "lake"),
    }
    for ended in both(account(empty=True), "--destination", name, **settings):
        said, advice = two_lines(ended.err)
        assert "not installed" in said
        assert f"pip install 'dlt[{extra}]'" in advice
        assert ended.code == UNUSABLE
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("name", ["filesystem", "delta"])
def test_a_bucket_whose_client_is_not_installed(account: Open, tmp_path: Path, name: str) -> None:
    settings = {**S3, **without(tmp_path, "s3fs")}
    for ended in both(account(empty=True), "--destination", name, **settings):
        said, advice = two_lines(ended.err)
        assert "not installed" in said
        assert "pip install 'dlt[s3]'" in advice
        assert ended.code == UNUSABLE


def test_a_folder_that_cannot_be_written_to(account: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = {"DESTINATION__FILESYSTEM__BUCKET_URL": str(tmp_path / "file" / "lake")}
    for ended in both(account(empty=True), "--destination", "filesystem", **settings):
        said, advice = two_lines(ended.err)
        assert "Not a directory" in said
        assert "DESTINATION__FILESYSTEM__" in advice
        assert ended.code == FAILED


@pytest.mark.parametrize("kind", ["no folder", "no database"])
def test_a_duckdb_file_that_cannot_be_opened(account: Open, tmp_path: Path, kind: str) -> None:
    warehouse = account(empty=True)
    if kind == "no folder":
        warehouse.file = tmp_path / "nowhere" / "warehouse.duckdb"
    else:
        warehouse.file.write_text("rows, " * 5000)
    for ended in both(warehouse):
        said, advice = two_lines(ended.err)
        assert str(warehouse.file) in said
        assert "DESTINATION__DUCKDB__" in advice
        assert ended.code == FAILED


@pytest.mark.parametrize("name", ["duckdb", "delta"])
def test_a_check_of_both_ends_leaves_nothing_behind(
    account: Open, tmp_path: Path, name: str
) -> None:
    warehouse = account(empty=True)
    lake = tmp_path / "lake"
    settings = {"DESTINATION__FILESYSTEM__BUCKET_URL": str(lake)}
    ended = run(warehouse, "--check", "--destination", name, **settings)
    assert (ended.code, ended.err) == (LOADED, "")
    assert "mcommons can be written to" in ended.out
    assert not warehouse.file.exists()
    assert list(lake.rglob("*")) == []


def test_a_check_of_a_file_that_has_rows_leaves_it_as_it_is(account: Open) -> None:
    warehouse = account()
    warehouse.load("keywords")
    before = warehouse.file.read_bytes()
    assert run(warehouse, "--check").code == LOADED
    assert warehouse.file.read_bytes() == before
    with duckdb_client.connect(str(warehouse.file), read_only=True) as connection:
        found = connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE '%check%'"
        )
        assert found.fetchall() == [(0,)]
