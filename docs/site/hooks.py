"""What MkDocs cannot take from docs/ alone: pages of the top folder, and the library that draws."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
TOP = {"README.md": "shoplake.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINKS = {
    "](docs/": "](",
    "](.env.example)": "](reference/settings.md)",
    "](CONTRIBUTING.md": "](contributing.md",
    "](README.md": "](shoplake.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, with their links as they are from docs/, and Mermaid."""
    for source, page in TOP.items():
        text = (ROOT / source).read_text()
        for old, new in LINKS.items():
            text = text.replace(old, new)
        files.append(File.generated(config, page, content=text))
    # Whoever only checks the pages needs no library that draws (`make check-docs`).
    is_check = os.environ.get("DIAGRAMS") == "no"
    drawing = {"content": ""} if is_check else {"abs_src_path": str(ROOT / ".venv-docs" / "mermaid.min.js")}
    files.append(File.generated(config, "assets/mermaid.min.js", **drawing))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to pages of the top folder to where the site has them."""
    for source, made in TOP.items():
        markdown = re.sub(rf"\]\(((?:\.\./)*)\.\./{re.escape(source)}", rf"](\1{made}", markdown)
    return markdown
