# SPDX-License-Identifier: GPL-2.0-only
"""What the project itself knows: series that it has met, edits by name, the files of its suite."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError
from harness.host.data import data_folder
from harness.job import EditsFile, PlantedFile, SeriesKnowledge, read_toml
from harness.model.edit import Edits
from harness.model.planted import Planted
from harness.model.series import Series


def groups(quick: bool = False, suite: str = "heap") -> list[str]:
    """The files of the suite, each a group of tests with guests of its own; with ``quick`` those that have a quick
    test, and a load that lasts has files of its own: a guest that has nothing to ask takes as long as five tests."""
    texts = {path.name: path.read_text() for path in data_folder("tests/target").glob("test_*.py")}
    chosen = (name for name, text in texts.items() if ("mark.soak" in text) == (suite == "soak"))
    return sorted(name for name in chosen if not quick or "mark.quick" in texts[name])


def all_knowledge() -> list[SeriesKnowledge]:
    """What the project knows about series: patches/*/series.toml."""
    return [read_toml(path, SeriesKnowledge) for path in sorted(data_folder("patches").glob("*/series.toml"))]


def read_edits(name: str) -> Edits:
    """Edits by the path of their file, or by the name of one in patches/edits. UsageError: there is none."""
    path = Path(name)
    if not path.suffix:
        path = data_folder("patches") / "edits" / f"{name}.toml"
    return read_toml(path, EditsFile).edits(path.stem)


def planted_bugs(folder: Path) -> list[Planted]:
    """The bugs of a folder, by id, which is the name of the file. UsageError: there is none, or one is not in order."""
    found = [read_toml(path, PlantedFile).bug(path.stem) for path in sorted(folder.glob("*.toml"))]
    if not found:
        raise UsageError(f"no planted bug in {folder}", hint="name a folder with *.toml, as patches/planted")
    return found


def series_knowledge(spec: str) -> SeriesKnowledge | None:
    """What is known about the series that ``spec`` names by message-id (or a URL that ends in it)."""
    return next((k for k in all_knowledge() if any(m in spec for m in k.message_ids)), None)


def knowledge_of(series: Series | None) -> SeriesKnowledge | None:
    """What is known about a series that was fetched from elsewhere."""
    return series_knowledge(series.message_id) if series and series.message_id else None
