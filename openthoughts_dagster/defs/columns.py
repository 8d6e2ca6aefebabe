"""The columns of a table, for the tab Columns of an asset's page."""

import dagster as dg

from openthoughts_dagster.lake import Table


def column_schema(table: Table) -> dg.TableSchema:
    """Make the schema with the name, type, description and constraints of every column."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(dtype),
                description=table.descriptions[name],
                constraints=dg.TableColumnConstraints(nullable=name in table.nullable),
                tags={"partition key": ""} if name in table.partition_by else None,
            )
            for name, dtype in table.schema.items()
        ]
    )
