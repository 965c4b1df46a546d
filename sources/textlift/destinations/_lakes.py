"""Delta and Iceberg tables, in folders or buckets, merged like the tables of a database.

dlt's own ``filesystem`` destination updates and inserts rows by their primary key. It cannot
replace a set, so entries that were removed from a list would stay in the table. Here a load
replaces all rows that have its keys, in one commit for each table. A reader sees the table before
or after the load.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.destination import DestinationCapabilitiesContext, PreparedTableSchema
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema import Schema
from dlt.common.schema.typing import TTableSchema
from dlt.common.schema.utils import (
    get_columns_names_with_prop,
    get_first_column_name_with_prop,
)
from dlt.destinations.impl.filesystem.configuration import (
    FilesystemDestinationClientConfiguration,
)
from dlt.destinations.impl.filesystem.filesystem import (
    DeltaLoadFilesystemJob,
    FilesystemClient,
    IcebergLoadFilesystemJob,
    ReferenceFollowupJob,
)

_POSITION = "_position"


@dataclass(frozen=True)
class _Change:
    """The changes that a load makes in a table.

    Attributes:
        primary: Columns of the primary key.
        keys: The keys of all rows that are replaced, each once.
        rows: The rows that replace them.
        deleted: Column that marks rows that only delete others, if there is one.
    """

    primary: Sequence[str]
    keys: pa.Table
    rows: pa.Table
    deleted: str | None

    @classmethod
    def of(cls, table: TTableSchema, data: pa.Table) -> _Change:
        """Return the change from a table's hints and its data; keep one row of each primary key."""
        primary = get_columns_names_with_prop(table, "primary_key")
        merge = get_columns_names_with_prop(table, "merge_key")
        deleted = get_first_column_name_with_prop(table, "hard_delete")
        numbered = data.append_column(_POSITION, pa.array(range(data.num_rows), pa.int64()))
        first = numbered.group_by(list(primary)).aggregate([(_POSITION, "min")])
        rows = data.take(first[f"{_POSITION}_min"].sort())
        keys = rows.group_by(list(merge or primary)).aggregate([])
        if deleted:
            rows = rows.filter(pc.invert(pc.fill_null(rows[deleted], False)))
        return cls(primary, keys, rows, deleted)

    @property
    def narrowest(self) -> Any:
        """The key column with the most values, which matches the fewest other rows."""
        names = self.keys.column_names
        return max(names, key=lambda name: pc.count_distinct(self.keys[name]).as_py())

    @property
    def removes(self) -> bool:
        """Whether the load may delete rows of the table that no new row replaces."""
        whole = self.keys.column_names == list(self.primary)
        return not (whole and self.keys.num_rows == self.rows.num_rows)

    def left_out(self, there: pa.Table) -> pa.Table:
        """Return the rows of ``there`` that the load deletes and no new row replaces."""
        named = there.join(self.keys, self.keys.column_names, join_type="left semi")
        return named.join(self.rows.select(self.primary), self.primary, join_type="left anti")


def _as_in(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with a schema's types, for the columns it has, and all columns nullable.

    Text read from a lake's table has another Arrow type, and a join returns nullable columns. dlt
    encodes ``_dlt_load_id`` as a dictionary; a join cannot unify those of several load packages.
    """
    fields = [
        schema.field(field.name) if field.name in schema.names else field for field in table.schema
    ]
    plain = (
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in fields
    )
    return table.cast(pa.schema([field.with_nullable(True) for field in plain]))


class _DeltaJob(DeltaLoadFilesystemJob):
    def run(self) -> None:
        """Replace the rows in one commit."""
        from dlt.common.libs import deltalake as lib

        if self._load_table["write_disposition"] != "merge":
            super().run()
            return
        client, name = self._job_client, self.load_table_name
        change = _Change.of(cast(TTableSchema, self._load_table), self.arrow_dataset.to_table())
        try:
            table = client.load_open_table("delta", name)
        except DestinationUndefinedEntity:
            # Create it without rows and then merge: another run can create it at the same time.
            lib.write_delta_table(
                client.get_open_table_location("delta", name),
                lib.ensure_delta_compatible_arrow_data(change.rows.slice(0, 0)),
                "append",
                storage_options=lib.deltalake_storage_options(
                    client.config.credentials, client.config.deltalake_storage_options
                ),
                configuration=client.config.deltalake_configuration,
            )
            table = client.load_open_table("delta", name)
        lib.evolve_delta_table_schema(table, change.rows.schema)
        merge = table.merge(
            source=lib.ensure_delta_compatible_arrow_data(self._with_removals(table, change)),
            predicate=" AND ".join(f'target."{key}" = source."{key}"' for key in change.primary),
            source_alias="source",
            target_alias="target",
            streamed_exec=False,
        )
        if change.deleted:
            goes = f'source."{change.deleted}" = true'
            stays = f'source."{change.deleted}" IS NULL'
            merge = merge.when_matched_delete(goes).when_matched_update_all()
            merge = merge.when_not_matched_insert_all(stays)
        else:
            merge = merge.when_matched_update_all().when_not_matched_insert_all()
        merge.execute()

    @staticmethod
    def _with_removals(table: Any, change: _Change) -> pa.Table:
        """Return the rows, and a marked row for each row to delete from the table."""
        if not change.deleted or not change.removes:
            return change.rows
        columns = list(dict.fromkeys([*change.primary, *change.keys.column_names]))
        key = change.narrowest
        values = change.keys[key].combine_chunks()
        # Do not filter text: its bounds in a file have a type that cannot be compared.
        near = None if pa.types.is_string(values.type) else pc.field(key).isin(values)
        there = table.to_pyarrow_dataset().to_table(columns, filter=near)
        gone = change.left_out(_as_in(there, change.rows.schema)).select(change.primary)
        gone = gone.append_column(change.deleted, pa.array([True] * gone.num_rows, pa.bool_()))
        rows = _as_in(change.rows, change.rows.schema)
        return pa.concat_tables([rows, gone], promote_options="default")


class _IcebergJob(IcebergLoadFilesystemJob):
    def run(self) -> None:
        """Replace the rows in one commit."""
        from dlt.common.libs import pyiceberg as lib
        from pyiceberg.expressions import In

        # New rows replace no rows, so this warning is expected.
        warnings.filterwarnings("ignore", "Delete operation did not match any records")
        data = self.arrow_dataset.to_table()
        try:
            table = self._job_client.load_open_table(
                "iceberg", self.load_table_name, schema=data.schema
            )
        except DestinationUndefinedEntity:
            table = None
        if table is None or self._load_table["write_disposition"] != "merge":
            # dlt creates a missing table and then calls this method again.
            super().run()
            return
        change = _Change.of(cast(TTableSchema, self._load_table), data)
        with table.update_schema() as update:
            update.union_by_name(lib.ensure_iceberg_compatible_arrow_schema(data.schema))
        if not change.keys.num_rows:
            return
        key = change.narrowest
        touched = In(term=key, values=set(change.keys[key].to_pylist()))
        rows = change.rows
        if len(change.keys.column_names) > 1:
            # The filter matches one key column; keep the rows whose other key columns differ.
            there = _as_in(table.scan(touched).to_arrow(), data.schema)
            others = there.join(change.keys, change.keys.column_names, join_type="left anti")
            rows = pa.concat_tables(
                [_as_in(rows, data.schema), others.select(there.column_names)],
                promote_options="default",
            )
        table.overwrite(_as_required(rows, data.schema), overwrite_filter=touched)


def _as_required(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the rows with the nullability of a schema, in the form that Iceberg accepts."""
    from dlt.common.libs.pyiceberg import ensure_iceberg_compatible_arrow_data

    fields = [schema.field(n.name) if n.name in schema.names else n for n in rows.schema]
    return ensure_iceberg_compatible_arrow_data(rows.cast(pa.schema(fields)))


class _Client(FilesystemClient):
    def __init__(
        self,
        schema: Schema,
        config: FilesystemDestinationClientConfiguration,
        capabilities: DestinationCapabilitiesContext,
    ) -> None:
        # Such a table can be replaced in one way only; ignore what is configured for files.
        config.replace_strategy = None
        super().__init__(schema, config, capabilities)

    @staticmethod
    def get_reference_followup_job_class(
        table: PreparedTableSchema,
    ) -> type[ReferenceFollowupJob] | None:
        """Return the class of the job that writes a table's files into the table."""
        jobs = {"delta": _DeltaJob, "iceberg": _IcebergJob}
        return jobs.get(str(table.get("table_format")))


class filesystem(dlt.destinations.filesystem):
    """dlt's ``filesystem`` destination, with merges into Delta or Iceberg tables.

    ``preferred_table_format`` is ``"delta"`` or ``"iceberg"``; all other arguments are dlt's.
    """

    @property
    def client_class(self) -> type[FilesystemClient]:
        """The client with these merges."""
        return _Client

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.supported_merge_strategies = ["delete-insert"]
        return capabilities
