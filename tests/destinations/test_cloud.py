"""Warehouses in the cloud, as far as they can be tried without an account there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.utils import (
    prepare_load_table,
    resolve_merge_strategy,
    verify_schema_capabilities,
)
from dlt.common.schema.typing import TTableSchema
from dlt.common.schema.utils import get_columns_names_with_prop
from dlt.destinations.impl.redshift.redshift import RedshiftMergeJob
from dlt.destinations.utils import (
    verify_schema_merge_disposition,
    verify_schema_replace_disposition,
)
from sqlglot import exp, parse

from tests.conftest import Open
from tests.support.accounts import TABLES

NAMES = ("bigquery", "snowflake", "redshift", "clickhouse")


def prepared(account: Open, folder: Path, destination: Any) -> tuple[dlt.Pipeline, list[Any]]:
    """An account that is ready to be loaded, and its tables as the destination has them."""
    warehouse = account(profiles=20)
    pipeline = dlt.pipeline(
        "cloud", destination=destination, dataset_name="mcommons", pipelines_dir=str(folder)
    )
    pipeline.extract(warehouse.source(fundraising_ids=[501]))
    pipeline.normalize()
    schema = pipeline.default_schema
    capabilities = destination.capabilities()
    tables = [prepare_load_table(schema.tables, t, capabilities) for t in schema.data_tables()]
    return pipeline, tables


@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_one_that_dlt_can_load_there(
    account: Open, tmp_path: Path, name: str
) -> None:
    destination = getattr(dlt.destinations, name)()
    pipeline, tables = prepared(account, tmp_path, destination)
    schema, capabilities = pipeline.default_schema, destination.capabilities()
    assert {table["name"] for table in tables} == set(TABLES)
    assert verify_schema_capabilities(schema, capabilities, name) == []
    assert verify_schema_merge_disposition(schema, tables, capabilities) == []
    strategy: Any = "insert-from-staging"
    assert verify_schema_replace_disposition(schema, tables, capabilities, strategy) == []
    for table in tables:
        merges = table["write_disposition"] == "merge"
        assert bool(resolve_merge_strategy(schema.tables, table, capabilities)) == merges
    jobs = [
        job
        for load_id in pipeline.list_normalized_load_packages()
        for job in pipeline.get_load_package_info(load_id).jobs["new_jobs"]
    ]
    assert {job.job_file_info.table_name for job in jobs} >= set(TABLES)
    supported = set(capabilities.supported_loader_file_formats)
    assert {job.job_file_info.file_format for job in jobs} <= supported


def test_the_sql_for_redshift_replaces_what_a_load_brings(account: Open, tmp_path: Path) -> None:
    destination = dlt.destinations.redshift("redshift://loader:-@redshift.example.org:5439/db")
    pipeline, tables = prepared(account, tmp_path, destination)
    with pipeline._maybe_destination_capabilities():
        client: Any = pipeline._get_destination_clients(pipeline.default_schema)[0]
    for table in tables:
        if table["write_disposition"] == "merge":
            statements = RedshiftMergeJob.generate_sql([_named(table)], client.sql_client)
            parsed = [tree for text in statements for tree in parse(text, dialect="redshift")]
            (deletion, *_) = [tree for tree in parsed if isinstance(tree, exp.Delete)]
            keys = get_columns_names_with_prop(table, "merge_key")
            for key in keys or get_columns_names_with_prop(table, "primary_key"):
                assert key in deletion.sql(), table["name"]
            assert any(isinstance(tree, exp.Insert) for tree in parsed), table["name"]


def _named(table: TTableSchema) -> PreparedTableSchema:
    return {**table, "x-merge-strategy": "delete-insert"}  # type: ignore[return-value]
