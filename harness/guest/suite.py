# SPDX-License-Identifier: GPL-2.0-only
"""One pytest session for the guest's whole life: it collects once, then waits; each suite runs in a child of it.

So a guest can be saved when the tests are imported and collected, and a suite in a restored one starts at once.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import deselect_by_keyword, deselect_by_mark

from harness.guest import fixtures
from harness.guest.kmsg import Reader
from harness.guest.plugin import Events, Order
from harness.guest.port import Link

UNUSED = ("cacheprovider", "faulthandler", "junitxml", "pastebin", "stepwise", "unittest")
"""Plug-ins of pytest's own that would only cost time."""


class Waiting:
    """The session's loop over its tests, which waits instead: ``serve`` returns when the guest is to end."""

    def __init__(self, serve: Callable[[Waiting], None]) -> None:
        self.serve = serve
        self.trouble: list[str] = []
        self.session: pytest.Session | None = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.trouble.append(report.longreprtext)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.session = session
        gc.collect()
        gc.freeze()  # what is here stays; a child must not copy it to look for garbage
        self.serve(self)
        return True


def wait(folder: Path, serve: Callable[[Waiting], None]) -> int:
    """Collect the tests of ``folder`` and wait: pytest's exit status."""
    arguments = [str(folder), f"--rootdir={folder}", f"--confcutdir={folder}", "--strict-markers", "--tb=native", "-q"]
    arguments += ["--capture=no", "--continue-on-collection-errors"]
    for name in UNUSED:
        arguments += ["-p", f"no:{name}"]
    return int(pytest.main(arguments, plugins=[fixtures, Waiting(serve)]))


def run(waiting: Waiting, link: Link, order: Order, kmsg: Reader) -> int:
    """Run the tests that ``order`` asks for, in a child of the session: the exit status as pytest counts it. ``kmsg``
    is read on from where it stands."""
    session = waiting.session
    assert session is not None
    config = session.config
    config.stash[fixtures.LINK] = link
    config.stash[fixtures.LIMIT] = order.limit
    events = Events(link, order, kmsg)
    config.pluginmanager.register(events)
    items = events.chosen(session.items)
    config.option.keyword, config.option.markexpr = order.keyword or "", order.marks
    deselect_by_keyword(items, config)
    deselect_by_mark(items, config)
    session.items = items
    events.pytest_collection_finish(session)
    for number, item in enumerate(items):
        following = items[number + 1] if number + 1 < len(items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if events.cut:
            break
    status = _status(session, bool(items), bool(waiting.trouble))
    events.finish(int(status), "\n".join(waiting.trouble))
    return int(status)


def _status(session: pytest.Session, any_test: bool, trouble: bool) -> pytest.ExitCode:
    if trouble:
        return pytest.ExitCode.INTERRUPTED
    if not any_test:
        return pytest.ExitCode.NO_TESTS_COLLECTED
    return pytest.ExitCode.TESTS_FAILED if session.testsfailed else pytest.ExitCode.OK
