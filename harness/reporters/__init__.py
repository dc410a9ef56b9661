# SPDX-License-Identifier: GPL-2.0-only
"""One report, many renderings. Pure but for the files beside a run; nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.errors import InfraError
from harness.model.report import Report
from harness.reporters import checks, data, junit, kcidb, ktap, markdown, page, reply, text

FORMS: Mapping[str, Callable[[Report], str]] = {
    "text": text.render,
    "json": data.render,
    "junit": junit.render,
    "ktap": ktap.render,
    "markdown": markdown.render,
    "html": page.render,
    "b4": lambda report: checks.b4(report, text.render(report)),
    "patchwork": checks.patchwork,
    "kcidb": kcidb.render,
    "reply": reply.render,
}


FILES = {"junit.xml": "junit", "report.json": "json", "report.html": "html"}
"""What stands in each run folder."""


def write(report: Report) -> None:
    """Write the files of a run into its folder. InfraError: disk."""
    for name, form in FILES.items():
        try:
            (report.run / name).write_text(render(report, form))
        except OSError as error:
            hint = f"nothing is lost: 'xdna-harness report {report.run}' makes it again"
            raise InfraError(f"cannot write {report.run / name}: {error.strerror or error}", hint=hint) from error


def render(report: Report, form: str, who: str = "") -> str:
    """The report in one of :data:`FORMS`; ``who`` ("A Name <mail>") stands for a reply."""
    return reply.render(report, who) if form == "reply" else FORMS[form](report)
