"""All tables of the lake. A write that does not fit its table raises an error; nothing is coerced silently.

A table is said once, in one of the modules below. `openthoughts_dagster.lake` hands the tables on by their names.
"""

from openthoughts_dagster.lake import answer_tables, question_tables, release_tables, student_tables, study_tables
from openthoughts_dagster.lake.table import Table

_MODULES = (question_tables, answer_tables, student_tables, study_tables, release_tables)

TABLES = {table.name: table for module in _MODULES for table in vars(module).values() if isinstance(table, Table)}
