"""What documents repeat from the code is what the code says."""

import shutil
from pathlib import Path

import pytest

from docs import generate


def test_no_document_has_drifted() -> None:
    assert generate.drifted() == [], "run `python -m docs.generate`"


def test_the_command_page_names_every_command() -> None:
    page = (generate.ROOT / "docs" / "reference" / "commands.md").read_text()
    for name in ("up", "run", "backup", "restore", "quarantine replay", "keys create"):
        assert f"## `shoplake {name}`" in page
    assert "[bold]" not in page


def test_the_api_is_described_in_openapi_3_1() -> None:
    assert generate.api_document()["openapi"].startswith("3.1")


def test_a_changed_document_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in generate.documents():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(generate.ROOT / name, tmp_path / name)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    page = tmp_path / "docs" / "reference" / "settings.md"
    page.write_text(page.read_text().replace("SHOPLAKE_BUCKET", "SHOPLAKE_PAIL"))
    (tmp_path / "docs" / "explanation" / "scaling.md").write_text("<!-- made: footprint -->\n1 byte\n<!-- end -->")
    assert generate.drifted() == ["docs/reference/settings.md", "docs/explanation/scaling.md"]
    generate.main()
    assert generate.drifted() == []
