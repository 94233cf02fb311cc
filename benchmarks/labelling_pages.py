"""How soon pages stand in headless Chromium: from the click to the end of loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.labelling_projects import free_port, serve
from heedful.labelling import accounts
from heedful.labelling.accounts import Account
from heedful.labelling.database import Database

CHROMIUM = Path("/usr/bin/chromium")
VISITS = 30
LOADED = "() => { const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd - t.startTime; }"


def pages(path: Path, labeller: Account) -> dict[str, Any] | None:
    """Milliseconds: the page to label, its first visit and the next 30; the manager's page of statistics.

    None where there is no Chromium.
    """
    if not CHROMIUM.exists():
        return None
    from playwright.sync_api import sync_playwright

    db = Database(str(path))
    with db.write() as connection:
        manager = accounts.add_user(connection, "manager", role="admin")
        secrets_of = [accounts.begin_session(connection, key) for key in (labeller.id, manager)]
    db.close()
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    server = serve(str(path), port)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
            labelling = _waits(browser, site, secrets_of[0], "/p/p", VISITS + 1)
            statistics = _waits(browser, site, secrets_of[1], "/p/p/dashboard", 4)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    return {
        "label_first_ms": round(labelling[0]),
        "label_ms": {f"p{q}": round(float(np.percentile(labelling[1:], q))) for q in (50, 99)},
        "statistics_first_ms": round(statistics[0]),
        "statistics_ms": round(float(np.median(statistics[1:]))),
    }


def _waits(browser: Any, site: str, secret: str, page_path: str, visits: int) -> list[float]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_cookies([{"name": "heed_session", "value": secret, "url": site}])
    page = context.new_page()
    waits = []
    for _ in range(visits):
        page.goto(site + page_path, wait_until="load", timeout=60_000)
        page.wait_for_function("() => performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
        waits.append(float(page.evaluate(LOADED)))
    context.close()
    return waits
