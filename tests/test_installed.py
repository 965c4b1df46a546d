"""Whoever only installed the package: a script of their own, in a folder without our settings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, get_type_hints
from zipfile import ZipFile

import duckdb as duckdb_client
import pytest
from dlt.common import validation
from dlt.common.configuration import is_secret_hint, resolve
from dlt.common.configuration.specs import ConnectionStringCredentials
from dlt.common.destination import Destination
from dlt.common.schema.typing import TColumnSchema, TTableSchema
from dlt.common.typing import TSecretStrValue

from tests.conftest import PROJECT, Open, Warehouse
from tests.support.commands import PATIENCE, environment
from textlift.dlt_setup import STAGED_REPLACE, set_up_dlt

PIPELINE = 'pipeline = dlt.pipeline("texting", destination="duckdb", dataset_name="mcommons")'
SOURCE = 'source = mcommons_source().with_resources("profiles", "campaigns")'
#: As people write it, with the pipeline before the source or after it.
SCRIPTS = {
    "pipeline first": f"import dlt\n{PIPELINE}\nfrom textlift.mcommons import mcommons_source\n{SOURCE}",
    "source first": f"import dlt\nfrom textlift.mcommons import mcommons_source\n{SOURCE}\n{PIPELINE}",
}
#: What dlt finds for the settings that stand in its way at the end of the script.
FOUND = """
import json
from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.specs import RuntimeConfiguration
from dlt.common.configuration.specs.config_providers_context import ConfigProvidersConfiguration
airflow = resolve_configuration(ConfigProvidersConfiguration()).airflow_secrets
print(json.dumps([resolve_configuration(RuntimeConfiguration()).dlthub_telemetry,
    pipeline.destination_client().config.replace_strategy, airflow.only_toml_fragments]))
"""


def run_script(
    warehouse: Warehouse, folder: Path, script: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", f"{script}\npipeline.run(source)\n{FOUND}"],
        check=True,
        cwd=folder,
        env=environment(
            warehouse,
            DESTINATION__DUCKDB__CREDENTIALS=None,
            PYTHONPATH=str(PROJECT / "sources"),
            HOME=str(folder),
            **changes,
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_settings_that_protect_people_hold_in_any_pipeline(
    account: Open, tmp_path: Path, script: str
) -> None:
    warehouse, folder = account(), tmp_path / "elsewhere"
    told = f"{warehouse.box.url}telemetry"
    done = run_script(warehouse, folder, script, RUNTIME__DLTHUB_TELEMETRY_ENDPOINT=told)
    assert json.loads(done.stdout) == [False, "insert-from-staging", True]
    assert "telemetry" not in {request.endpoint for request in warehouse.box.requests}
    assert list(warehouse.state.rglob("*.parquet")) == []
    rows = len(warehouse.box.service.rows("profiles"))
    with duckdb_client.connect(str(folder / "texting.duckdb"), read_only=True) as connection:
        counted: Any = connection.execute(
            "SELECT count(*), count(_dlt_load_id) FROM mcommons.profiles"
        )
        assert counted.fetchall() == [(rows, rows)]
        staged = connection.execute("SELECT count(*) FROM mcommons_staging.profiles")
        assert staged.fetchall() == [(0,)]


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("where", ["environment", "file"])
def test_settings_of_ones_own_go_before_them(
    account: Open, tmp_path: Path, script: str, where: str
) -> None:
    warehouse, folder = account(), tmp_path / "elsewhere"
    told = {"RUNTIME__DLTHUB_TELEMETRY_ENDPOINT": f"{warehouse.box.url}telemetry"}
    if where == "environment":
        told |= {"RUNTIME__DLTHUB_TELEMETRY": "true", "LOAD__DELETE_COMPLETED_JOBS": "false"}
        told["DESTINATION__REPLACE_STRATEGY"] = "truncate-and-insert"
    else:
        (folder / ".dlt").mkdir(parents=True)
        (folder / ".dlt" / "config.toml").write_text(
            "[runtime]\ndlthub_telemetry = true\n[load]\ndelete_completed_jobs = false\n"
            '[destination]\nreplace_strategy = "truncate-and-insert"\n'
        )
    done = run_script(warehouse, folder, script, **told)
    assert json.loads(done.stdout) == [True, "truncate-and-insert", True]
    # That nothing arrives otherwise means something.
    assert "telemetry" in {request.endpoint for request in warehouse.box.requests}
    assert list(warehouse.state.rglob("*.parquet")) != []


def test_they_come_back_when_dlt_reads_its_settings_anew(account: Open, tmp_path: Path) -> None:
    script = (
        f"{SCRIPTS['source first']}\n"
        "from dlt.common.configuration.container import Container\n"
        "from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext\n"
        f"Container()[PluggableRunContext].reload_providers()\n{SOURCE}"
    )
    done = run_script(account(), tmp_path / "elsewhere", script)
    assert json.loads(done.stdout)[0] is False


def test_the_providers_that_are_added_later_go_before_them() -> None:
    script = (
        "import dlt\nfrom dlt.common.configuration.providers import CustomLoaderDocProvider\n"
        "from textlift.dlt_setup import set_up_dlt\nset_up_dlt()\n"
        "later = CustomLoaderDocProvider('later', lambda: {'load': {'delete_completed_jobs': False}})\n"
        "dlt.config.register_provider(later)\nset_up_dlt()\n"
        "print(dlt.config['load.delete_completed_jobs'], dlt.config.config_providers[-1].name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        cwd=PROJECT,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "False textlift defaults"


def test_dlt_still_knows_a_secret_by_its_type() -> None:
    set_up_dlt()
    assert resolve.is_secret_hint is not is_secret_hint
    secrets = [TSecretStrValue, TSecretStrValue | None, ConnectionStringCredentials]
    # The last one has no hash.
    others = [str, int | None, Annotated[str, []]]
    assert [*map(resolve.is_secret_hint, secrets + others)] == [True] * 3 + [False] * 3
    for spec in (TTableSchema, TColumnSchema):
        hints = validation.get_type_hints(spec, None)
        assert hints == validation.get_type_hints(spec, None) == get_type_hints(spec)


@pytest.mark.parametrize("name", STAGED_REPLACE)
def test_tables_are_replaced_in_one_step_only_where_that_can_be(name: str) -> None:
    found = Destination.from_reference(name)
    assert found
    capabilities = found.capabilities()
    assert "insert-from-staging" in (capabilities.supported_replace_strategies or ())
    assert capabilities.replace_strategies_selector is None


def test_a_wheel_has_every_file_of_the_dbt_package(tmp_path: Path) -> None:
    copy, out = tmp_path / "project", tmp_path / "out"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copy)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "target", "logs")
    for name in ("dbt", "sources"):
        shutil.copytree(PROJECT / name, copy / name, symlinks=True, ignore=ignored)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            # The tools that are installed, and not newer ones from the internet.
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(copy)),
        ],
        check=True,
    )
    [wheel] = out.iterdir()
    with ZipFile(wheel) as opened:
        files = {PurePosixPath(name) for name in opened.namelist()}
    packaged = {path.relative_to(copy) for path in (copy / "dbt").rglob("*") if path.is_file()}
    assert len(packaged) > 50
    assert {PurePosixPath("textlift") / path for path in packaged} <= files
    # And what is read beside the code.
    assert {
        PurePosixPath("textlift/dashboard/style.css"),
        PurePosixPath("textlift/sandbox/mcommons/samples.json"),
    } <= files
