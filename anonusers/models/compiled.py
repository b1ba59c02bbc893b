"""Look-ups and updates whose SQL is made once.

Django compiles a queryset anew at each use. For the join that stands behind every request this takes longer than the
database takes to answer it, so the hot statements keep their SQL and fill in the parameters.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from django.db import connections, router
from django.db.models import Field, Model, QuerySet, Value
from django.db.models.sql import UpdateQuery

Row = TypeVar("Row", bound=Model)


class Parameter(Value):
    """A place in a query that is filled at each use."""

    def __init__(self, name: str, output_field: "Field[Any, Any]") -> None:
        super().__init__(name, output_field=output_field)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


class CompiledLookup(threading.local, Generic[Row]):
    """A queryset with `Parameter`s that finds one row by something unique.

    What is kept belongs to a thread, as its database connection does.
    """

    def __init__(self, build: Callable[[], "QuerySet[Row]"]) -> None:
        self._build = build  # called late: joins are known only when all models are loaded
        self._compiled: _Compiled[Row] | None = None

    def find(self, **values: Any) -> Row | None:
        """The row, with what the queryset selects along with it, or None. One statement."""
        if self._compiled is None:
            self._compiled = _Compiled(self._build())
        return self._compiled.find(values)


class CompiledUpdate(threading.local):
    """An UPDATE of the rows of a queryset; `Parameter`s in both."""

    def __init__(self, build: Callable[[], "QuerySet[Any]"], **columns: Parameter) -> None:
        self._build, self._columns = build, columns
        self._compiled: tuple[str, str, Sequence[Any]] | None = None

    def run(self, **values: Any) -> int:
        """How many rows were matched. One statement."""
        if self._compiled is None:
            queryset = self._build()
            database = router.db_for_write(queryset.model)
            query: Any = queryset.query.chain(UpdateQuery)
            query.add_update_values(self._columns)
            self._compiled = (database, *query.get_compiler(database).as_sql())
        database, sql, parameters = self._compiled
        with connections[database].cursor() as cursor:
            cursor.execute(sql, _filled(parameters, values, connections[database]))
            return int(cursor.rowcount)


def _filled(parameters: Sequence[Any], values: dict[str, Any], connection: Any) -> list[Any]:
    return [
        parameter.output_field.get_db_prep_value(values[parameter.value], connection)
        if isinstance(parameter, Parameter)
        else parameter
        for parameter in parameters
    ]


class _Compiled(Generic[Row]):
    def __init__(self, queryset: "QuerySet[Row]") -> None:
        self.database = queryset.db
        compiler = queryset.query.get_compiler(self.database)
        self.sql, self.parameters = compiler.as_sql()
        self.converters = list(compiler.get_converters(column[0] for column in compiler.select).items())
        self.reader = _Reader(compiler.klass_info, compiler.select)

    def find(self, values: dict[str, Any]) -> Row | None:
        connection = connections[self.database]
        with connection.cursor() as cursor:
            cursor.execute(self.sql, _filled(self.parameters, values, connection))
            found = cursor.fetchone()
        if found is None:
            return None
        row = list(found)
        for position, (converters, expression) in self.converters:
            for convert in converters:
                row[position] = convert(row[position], expression, connection)
        return self.reader.read(row, self.database)


class _Reader:
    """Makes a model's instance of some columns of a row, and the instances that are selected along with it.

    Reads what a compiler says of its columns, as the iterator of Django's querysets does.
    """

    def __init__(self, klass_info: dict[str, Any], select: Sequence[Any]) -> None:
        self.model: Any = klass_info["model"]
        positions = klass_info["select_fields"]
        self.columns = slice(positions[0], positions[-1] + 1)
        self.names = [column[0].target.attname for column in select[self.columns]]
        self.key = positions[self.names.index(self.model._meta.pk.attname)]
        self.related = [
            (_Reader(related, select), related["local_setter"], related["remote_setter"])
            for related in klass_info.get("related_klass_infos", ())
        ]

    def read(self, row: list[Any], database: str) -> Any:
        if row[self.key] is None:  # an outer join that found nothing
            return None
        instance = self.model.from_db(database, self.names, row[self.columns])
        for reader, set_here, set_there in self.related:
            related = reader.read(row, database)
            set_here(instance, related)
            if related is not None:
                set_there(related, instance)
        return instance
