"""Who may not use SQL Lab asks what the charts ask: filters and columns as they like, SQL of their own never, and no
step behind the SQL that makes much of little."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

CLAUSES = ("where", "having")
MOST_QUESTIONS, MOST_COLUMNS = 10, 50
"""In one request, and in one answer."""
SIZED_BY = (
    ("pivot", "index", "x_axis"),
    ("pivot", "columns", "groupby"),
    ("resample", "rule", "resample_rule"),
    ("histogram", "bins", "bins"),
    ("prophet", "periods", "forecastPeriods"),
    ("select", "columns", ""),
    ("aggregate", "groupby", ""),
)
"""Of each step behind the SQL that may return far more than it gets, the option that says how much, and the parameter
of a chart that it comes from; no chart has the last two."""


def expressions(value: Any) -> Iterator[str]:
    """Every `sqlExpression` in a chart's parameters, or in a part of a question; Superset makes SQL of any value."""
    if isinstance(value, Mapping):
        if (text := value.get("sqlExpression")) is not None:
            yield str(text)
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


def foreign_work(question: Mapping[str, Any], charts: Collection[Mapping[str, Any]]) -> str | None:
    """The first step behind the SQL, or layer of another chart, that no chart of the dataset has, a pattern with many
    wildcards, or too large a number of columns; None when all is well."""
    layers = [_shape(one) for chart in charts for one in chart.get("annotation_layers") or ()]
    width = sum(len(question.get(part) or ()) for part in ("columns", "metrics"))
    found = [step for step in question.get("post_processing") or () if not any(_takes(one, step) for one in charts)]
    found += [one for one in question.get("annotation_layers") or () if _shape(one) not in layers]
    found += [one for one in question.get("filter") or () if _has_inner_wildcard(one)]
    found += [f"{width} columns"] if width > MOST_COLUMNS else []
    return str(found[0]) if found else None


def _takes(chart: Mapping[str, Any], step: Mapping[str, Any]) -> bool:
    """Whether the size of what a step returns is a chart's; `_b` is the second question of one with two."""
    options = step.get("options") or {}
    return all(
        _labels(options.get(option)) <= _labels(chart.get(parameter)) | _labels(chart.get(f"{parameter}_b"))
        for operation, option, parameter in SIZED_BY
        if operation == step.get("operation")
    )


def _has_inner_wildcard(condition: Mapping[str, Any]) -> bool:
    """Whether a condition looks for more than one text. DuckDB tries out where each part may stand: a few more, and one
    value takes hours, in which nothing interrupts it."""
    return "LIKE" in str(condition.get("op")).upper() and "%" in str(condition.get("val")).strip("%")


def _labels(value: Any) -> set[str]:
    """The names in a list of columns, or of other values; one alone is a list, too."""
    several = value if isinstance(value, list | tuple) else () if value is None else (value,)
    return {str(one.get("label")) if isinstance(one, Mapping) else str(one) for one in several}


def _shape(layer: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    """A layer without what a dashboard's filter changes in it: other times, and no other parameter."""
    return str(layer.get("sourceType")), str(layer.get("value")), sorted(layer.get("overrides") or ())


def keep_to_charts(manager: Any) -> None:
    """Make Superset's security manager refuse all else to all who may not use SQL Lab."""
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
    charts, columns = [chart.params_dict for chart in found], {column.column_name for column in dataset.columns}
    engine = dataset.database.db_engine_spec.engine
    asked = len(context.queries) + sum(len(query.time_offsets or ()) for query in context.queries)
    if asked > MOST_QUESTIONS:
        _refuse(f"{asked} questions at once")
    for query in context.queries:
        question = {**query.to_dict(), "annotation_layers": query.annotation_layers}
        text = foreign_sql(question, charts, columns, lambda clause: sanitize_clause(clause, engine))
        if (own := text if text is not None else foreign_work(question, charts)) is not None:
            _refuse(own)


def _refuse(text: str) -> None:
    from superset.errors import ErrorLevel, SupersetError, SupersetErrorType
    from superset.exceptions import SupersetSecurityException

    message = f"Only those who may use SQL Lab ask with SQL of their own, or for more than charts do: {text[:100]}"
    kind = SupersetErrorType.DATASOURCE_SECURITY_ACCESS_ERROR
    raise SupersetSecurityException(SupersetError(error_type=kind, message=message, level=ErrorLevel.ERROR))
