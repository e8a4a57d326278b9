"""The dashboards as code: reads the YAML of this folder into Superset, and writes what Superset holds back into it.

The files hold no number that Superset gave: things refer to each other by UUID, so that they are the same everywhere.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(os.environ.get("SHOPLAKE_SUPERSET_ASSETS") or Path(__file__).resolve().parent)
KINDS = ("databases", "datasets", "charts", "dashboards")
GIVEN_BY_SUPERSET = ("chart_configuration", "global_chart_configuration", "map_label_colors", "shared_label_colors")


def files() -> dict[str, str]:
    """The YAML of this folder by its path below it."""
    return {
        str(path.relative_to(FOLDER)): path.read_text(encoding="utf-8")
        for kind in KINDS
        for path in sorted((FOLDER / kind).rglob("*.yaml"))
    }


def import_all() -> None:
    """Bring Superset to what the files say; what they said earlier and do not say any more is removed.

    Needs an application context and a user. What people made in Superset themselves stays.
    """
    from superset.commands.importers.v1.assets import ImportAssetsCommand

    known = files()
    metadata = {"version": "1.0.0", "type": "assets", "timestamp": "2026-01-01T00:00:00+00:00"}
    ImportAssetsCommand({"metadata.yaml": yaml.safe_dump(metadata), **known}).run()
    uuids = sorted(str(yaml.safe_load(text)["uuid"]) for text in known.values())
    record = Path(os.environ["SUPERSET_HOME"]) / "imported.json"
    earlier = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else []
    remove(set(earlier) - set(uuids))
    record.write_text(json.dumps(uuids), encoding="utf-8")


def remove(uuids: set[str]) -> None:
    """Remove dashboards, charts and datasets by UUID."""
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice

    from superset import db

    for model in (Dashboard, Slice, SqlaTable):
        for item in db.session.query(model).all():
            if str(item.uuid) in uuids:
                db.session.delete(item)
    db.session.commit()


def export_all() -> dict[str, str]:
    """What Superset holds of our database's dashboards, as the text of files."""
    from superset.commands.dashboard.export import ExportDashboardsCommand
    from superset.models.dashboard import Dashboard

    from superset import db

    uuids = {str(yaml.safe_load(text)["uuid"]) for name, text in files().items() if name.startswith("dashboards/")}
    ids = [item.id for item in db.session.query(Dashboard).order_by(Dashboard.slug) if str(item.uuid) in uuids]
    found = {}
    for name, text in ExportDashboardsCommand(ids).run():
        if name.split("/")[0] in KINDS:
            config = plain(yaml.safe_load(text() if callable(text) else text))
            found[_file_name(name, config)] = dump(config)
    return dict(sorted(found.items()))


def dump(config: dict[str, Any]) -> str:
    """The text of one file; long SQL and Markdown stay readable."""
    return yaml.dump(config, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=110)


def write(found: dict[str, str]) -> None:
    """Make the files say this, and nothing else."""
    for name in set(files()) - set(found):
        (FOLDER / name).unlink()
    for name, text in found.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _file_name(name: str, config: dict[str, Any]) -> str:
    kind = name.split("/")[0]
    title = config.get("slug") or next(
        config[key] for key in ("slice_name", "dashboard_title", "table_name", "database_name") if config.get(key)
    )
    return f"{kind}/{re.sub(r'[^a-z0-9]+', '_', title.lower()).strip('_')}.yaml"


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from one Superset to the next."""
    params = config.get("params") or {}
    for name in ("datasource", "slice_id", "dashboards", "dashboardId"):
        params.pop(name, None)
    config.pop("query_context", None)
    for names, name in (("columns", "column_name"), ("metrics", "metric_name")):
        if names in config:
            config[names] = sorted(config[names], key=lambda one: one[name])
    metadata = config.get("metadata") or {}
    for name in GIVEN_BY_SUPERSET:
        metadata.pop(name, None)
    charts = [item for _, item in sorted((config.get("position") or {}).items()) if _is_chart(item)]
    numbers = {item["meta"]["chartId"]: number for number, item in enumerate(charts, start=1)}
    for item in charts:
        item["meta"]["chartId"] = numbers[item["meta"]["chartId"]]
    for one in metadata.get("native_filter_configuration", []):
        for name in ("chartsInScope", "tabsInScope"):
            one.pop(name, None)
        scope = one.get("scope", {})
        scope["excluded"] = sorted(numbers[given] for given in scope.get("excluded", []) if given in numbers)
    return config


def _is_chart(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") == "CHART"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and what is the same twice twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
