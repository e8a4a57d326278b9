"""Who may not use SQL Lab asks what the charts ask: filters and columns as they like, SQL of their own never."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

CLAUSES = ("where", "having")


def expressions(value: Any) -> Iterator[str]:
    """Every `sqlExpression` in a chart's parameters, or in a part of a question."""
    if isinstance(value, Mapping):
        if isinstance(text := value.get("sqlExpression"), str):
            yield text
        for part in value.values():
            yield from expressions(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from expressions(part)


def clauses(chart: Mapping[str, Any]) -> Iterator[str]:
    """The conditions that a browser sends for a chart whose filters are SQL."""
    for clause in CLAUSES:
        texts = [
            f"({one['sqlExpression']})"
            for one in chart.get("adhoc_filters") or ()
            if one.get("expressionType") == "SQL" and str(one.get("clause", "")).lower() == clause
        ]
        if texts:
            yield " AND ".join(texts)


def foreign_sql(
    question: Mapping[str, Any],
    charts: Iterable[Mapping[str, Any]],
    columns: Collection[str],
    canonical: Callable[[str], str] = str,
) -> str | None:
    """The first SQL in a question that no chart of its dataset has; None when there is none.

    A text in place of a column is SQL for Superset when the dataset has no such column. Conditions are compared as
    `canonical` writes them.
    """
    charts = list(charts)
    known = {*columns, *(text for chart in charts for text in expressions(chart))}
    asked = [text for name, part in question.items() if name != "extras" for text in expressions(part)]
    asked += [one for one in question.get("columns") or () if isinstance(one, str)]
    for text in asked:
        if text not in known:
            return text
    conditions = {canonical(text) for chart in charts for text in clauses(chart)}
    extras = question.get("extras") or {}
    return next((text for name in CLAUSES if (text := extras.get(name)) and canonical(text) not in conditions), None)


def keep_to_charts(manager: Any) -> None:
    """Make Superset's security manager refuse SQL of their own to all who may not use SQL Lab."""
    allow = manager.raise_for_access

    def raise_for_access(**asked: Any) -> None:
        if not manager.can_access("can_execute_sql_query", "SQLLab"):
            if any(asked.get(kind) for kind in ("query", "sql", "viz")):
                _refuse("a statement")
            if context := asked.get("query_context"):
                _check(context)
        allow(**asked)

    manager.raise_for_access = raise_for_access


def _check(context: Any) -> None:
    from superset.models.slice import Slice
    from superset.sql.parse import sanitize_clause

    from superset import db

    dataset = context.datasource
    found = db.session.query(Slice).filter_by(datasource_id=dataset.id, datasource_type=dataset.type).all()
    engine = dataset.database.db_engine_spec.engine
    for query in context.queries:
        text = foreign_sql(
            query.to_dict(),
            [chart.params_dict for chart in found],
            {column.column_name for column in dataset.columns},
            lambda clause: sanitize_clause(clause, engine),
        )
        if text is not None:
            _refuse(text)


def _refuse(text: str) -> None:
    from superset.errors import ErrorLevel, SupersetError, SupersetErrorType
    from superset.exceptions import SupersetSecurityException

    message = f"Only those who may use SQL Lab ask with SQL of their own; no chart has: {text[:100]}"
    kind = SupersetErrorType.DATASOURCE_SECURITY_ACCESS_ERROR
    raise SupersetSecurityException(SupersetError(error_type=kind, message=message, level=ErrorLevel.ERROR))
