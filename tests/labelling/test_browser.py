"""The pages in headless Chromium: by keyboard alone, with bounced keys, in two tabs, against hostile texts."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy import select, update

from heedful.labelling import accounts, work
from heedful.labelling.database import Database
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.tables import annotation, slot
from heedful.labelling.web.app import create_app
from heedful.types import Message
from tests.labelling.conftest import make_project, pair, person

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CHROMIUM = Path("/usr/bin/chromium")

HOSTILE = [
    "<script>hit()</script>",
    "<img src=x onerror=hit()>",
    "<svg onload=hit()>",
    "[a](javascript:hit())",
    "![x](https://evil.example/pixel.png)",
    "<iframe src='javascript:hit()'></iframe>",
    "<a href='java&#10;script:hit()'>a</a>",
    "[a](data:text/html;base64,PHNjcmlwdD5oaXQoKTwvc2NyaXB0Pg==)",
    "<style>@import 'https://evil.example/x.css';</style>",
    '"><script>hit()</script>',
    "```<script>hit()</script>```",
    "<math><mi xlink:href='javascript:hit()'>x</mi></math>",
    "<details open ontoggle=hit()>",
    "<form action='https://evil.example'><button>x</button></form>",
]


@contextmanager
def served(db: Database) -> Iterator[str]:
    """The address of its pages, while they are served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_app(db), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def site(sqlite) -> Iterator[str]:
    with served(sqlite) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def ann(sqlite, site, chromium):
    """A page on which ann is logged in; requests to other hosts, dialogs and errors are kept in lists."""
    make_project(sqlite)
    return opened(sqlite, site, chromium, "ann")


def opened(db: Database, site: str, chromium, name: str, **context):
    who = person(db, name, member="annotator")
    with db.write() as connection:
        secret = accounts.begin_session(connection, who.id)
    browsing = chromium.new_context(viewport={"width": 1280, "height": 800}, **context)
    browsing.add_cookies([{"name": "heed_session", "value": secret, "url": site}])
    page = browsing.new_page()
    page.set_default_timeout(30_000)
    page.strange, page.who = [], who
    page.on("request", lambda r: page.strange.append(r.url) if not r.url.startswith((site, "data:")) else None)
    page.on("pageerror", lambda error: page.strange.append(str(error)))
    page.on("dialog", lambda dialog: page.strange.append("dialog"))
    return page


def answers(db: Database) -> list[dict]:
    with db.read() as connection:
        asked = select(annotation.c.value).where(annotation.c.is_current).order_by(annotation.c.id)
        return list(connection.execute(asked).scalars())


def ready(page) -> None:
    """Keys count only after the time in which a bounced one lands."""
    page.wait_for_selector("html.js")
    page.wait_for_timeout(700)


def said(page, words: str) -> None:
    page.locator("#status", has_text=words).wait_for()


class TestKeys:
    def test_one_key_answers_and_the_next_item_comes(self, sqlite, site, ann):
        ann.goto(f"{site}/p/p")
        for number in range(5):
            ready(ann)
            with ann.expect_navigation():
                ann.keyboard.press("1" if number % 2 else "0")
        assert "All done" in ann.inner_text("main")
        assert [said["preference"]["winner"] is None for said in answers(sqlite)] == [True, False, True, False, True]
        assert ann.strange == []

    def test_bounced_keys_answer_nothing_unread(self, sqlite, site, ann):
        ann.goto(f"{site}/p/p")
        ready(ann)
        ann.add_init_script("performance.now = () => 0")  # the next page stays new, however slow all this is
        with ann.expect_navigation():
            for _ in range(6):
                ann.keyboard.press("1")
        ann.wait_for_selector("html.js")
        for _ in range(6):
            ann.keyboard.press("1")
        said(ann, "Too soon to have read it")
        ann.wait_for_timeout(300)
        assert len(answers(sqlite)) == 1

    def test_u_goes_back_and_the_answer_can_be_changed(self, sqlite, site, ann):
        ann.goto(f"{site}/p/p")
        ready(ann)
        with ann.expect_navigation():
            ann.keyboard.press("0")
        ready(ann)
        with ann.expect_navigation():
            ann.keyboard.press("u")
        ann.wait_for_selector("a:focus")
        with ann.expect_navigation():
            ann.keyboard.press("Enter")  # the newest has the focus
        ready(ann)
        ann.keyboard.press("1")
        with ann.expect_navigation():
            ann.keyboard.press("Enter")
        [said] = answers(sqlite)
        assert said["preference"]["winner"] in ("r0", "r1")

    def test_guidelines_are_one_key_away(self, site, ann):
        ann.goto(f"{site}/p/p")
        ready(ann)
        assert not ann.is_visible("#guidelines")
        ann.keyboard.press("g")
        assert "Be fair" in ann.inner_text("#guidelines")
        ann.keyboard.press("Escape")
        assert not ann.is_visible("#guidelines")

    def test_s_skips(self, sqlite, site, ann):
        ann.goto(f"{site}/p/p")
        ready(ann)
        first = ann.inner_text(".prompt")
        ann.keyboard.press("s")
        ann.keyboard.press("Tab")
        ann.keyboard.type("no idea")
        with ann.expect_navigation():
            ann.keyboard.press("Enter")
        assert ann.inner_text(".prompt") != first

    def test_every_question_by_keyboard(self, sqlite, site, chromium):
        asked = {
            "preference": {"strength": 3},
            "ranking": {},
            "rating": {"dimensions": {"help": {}}},
            "thumbs": {},
            "safety": {"harms": ["Violence", "Drugs"]},
            "confidence": {"required": True},
            "rationale": {"required": True},
        }
        make_project(sqlite, 1, questions=asked, shuffle=False)
        page = opened(sqlite, site, chromium, "cid")
        page.goto(f"{site}/p/p")
        ready(page)
        keys = "1" + "12" + "42" + "12" + "1" + "23b"  # A much better; ranks; grades; thumbs; A safe; B unsafe, severe
        for key in keys:
            page.keyboard.press(key)
        page.keyboard.press("ArrowDown")  # several harms may be chosen, so the next question is asked for
        for key in "15r":  # A is safer; certain; the reason
            page.keyboard.press(key)
        page.keyboard.type("Because.")
        with page.expect_navigation():
            page.keyboard.press("Control+Enter")
        assert answers(sqlite) == [
            {
                "preference": {"winner": "r0", "strength": 3},
                "ranking": {"ranks": {"r0": 1, "r1": 2}},
                "rating": {"r0": {"help": 4}, "r1": {"help": 2}},
                "thumbs": {"r0": True, "r1": False},
                "safety": {
                    "r0": {"is_safe": True, "harms": [], "severity": 0},
                    "r1": {"is_safe": False, "harms": ["Drugs"], "severity": 3},
                },
                "safer": {"winner": "r0"},
                "confidence": 5,
                "rationale": "Because.",
            }
        ]
        assert page.strange == []

    def test_an_open_question_is_pointed_at(self, sqlite, site, chromium):
        make_project(sqlite, 1, questions={"thumbs": {}})
        page = opened(sqlite, site, chromium, "cid")
        page.goto(f"{site}/p/p")
        ready(page)
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        assert page.inner_text("#status") == "This question is still open."
        assert answers(sqlite) == []


class TestNothingIsLost:
    def test_a_reload_keeps_the_draft(self, sqlite, site, chromium):
        make_project(sqlite, 1, questions={"preference": {}, "rationale": {}})
        page = opened(sqlite, site, chromium, "cid")
        page.goto(f"{site}/p/p")
        ready(page)
        page.keyboard.press("1")
        page.keyboard.press("r")
        with page.expect_response("**/draft"):
            page.keyboard.type("half a thou")
        page.reload()
        assert page.input_value("#rationale") == "half a thou"
        assert page.locator("input[name=preference]:checked").count() == 1

    def test_an_answer_waits_for_the_server(self, sqlite, site, ann):
        ann.goto(f"{site}/p/p")
        ready(ann)
        ann.route("**/submit", lambda route: route.abort())
        ann.keyboard.press("1")
        said(ann, "kept")
        assert answers(sqlite) == []
        ann.unroute("**/submit")
        with ann.expect_navigation(timeout=15_000):
            pass
        assert len(answers(sqlite)) == 1

    def test_two_tabs_show_the_same_item_and_answer_it_once(self, sqlite, site, ann):
        other = ann.context.new_page()
        for page in (ann, other):
            page.goto(f"{site}/p/p")
            ready(page)
        assert ann.inner_text(".prompt") == other.inner_text(".prompt")
        with ann.expect_navigation():
            ann.keyboard.press("1")
        other.keyboard.press("1")
        said(other, "answered already")
        assert len(answers(sqlite)) == 1

    def test_a_lease_that_went_to_another_is_said(self, sqlite, site, ann):
        ann.goto(f"{site}/p/p")
        ready(ann)
        with sqlite.write() as connection:
            connection.execute(update(slot).where(slot.c.state == "leased").values(lease_until=1.0))
        bob = person(sqlite, "bob", member="annotator")
        assert work.claim(sqlite, bob, "p") is not None
        ann.keyboard.press("1")
        said(ann, "somebody else")
        assert answers(sqlite) == []

    def test_without_javascript(self, sqlite, site, chromium):
        make_project(sqlite, 2)
        page = opened(sqlite, site, chromium, "cid", java_script_enabled=False)
        page.goto(f"{site}/p/p")
        page.check("input[name=preference][value=r1]", force=True)
        page.click("#submit")
        page.click("#skip summary")
        page.click("#skip button")
        assert "All done" in page.inner_text("main")
        assert [said["preference"]["winner"] for said in answers(sqlite)] == ["r1"]


class TestHostileTexts:
    def test_nothing_runs_and_nothing_is_fetched(self, sqlite, site, chromium):
        listed = []
        for number, text in enumerate(HOSTILE):
            responses = [NewResponse([Message("assistant", f"{text} {side}")]) for side in "ab"]
            listed.append(NewItem([Message("user", text)], responses, f"x{number}", context={text: text}))
        make_project(sqlite, new_items=listed, suspect_ms=0, min_dwell_ms=0)
        page = opened(sqlite, site, chromium, "cid")
        page.add_init_script("window.hit = () => { document.title = 'hit'; alert(1) }")
        page.goto(f"{site}/p/p")
        for _ in HOSTILE:
            page.wait_for_selector("html.js")
            page.eval_on_selector_all(".prompt a, .response a", "links => links.forEach(link => link.click())")
            if not page.url.endswith("/p/p"):
                page.goto(f"{site}/p/p")
            assert page.title() != "hit"
            assert (
                page.locator(".prompt img, .prompt script, .response iframe, .response form, .response style").count()
                == 0
            )
            with page.expect_navigation():
                page.keyboard.press("1")
        assert page.strange == []
        assert len(answers(sqlite)) == len(HOSTILE)


class TestAsAPersonSees:
    def test_a_page_fits_the_screen_and_responses_stand_side_by_side(self, sqlite, site, chromium):
        long = "\n\n".join(f"Paragraph {number} of a long answer." for number in range(80))
        responses = [NewResponse([Message("assistant", f"{long} {side}")]) for side in "ab"]
        make_project(sqlite, new_items=[NewItem([Message("user", "q")], responses, "x")])
        page = opened(sqlite, site, chromium, "cid")
        page.goto(f"{site}/p/p")
        ready(page)
        size = page.evaluate("[document.documentElement.scrollHeight, innerHeight]")
        assert size[0] <= size[1]
        first, second = (page.locator(".response").nth(place).bounding_box() for place in range(2))
        assert first["y"] == second["y"]
        assert first["width"] == pytest.approx(second["width"], abs=1)
        page.locator(".response").first.hover()
        page.mouse.wheel(0, 600)
        page.wait_for_timeout(300)
        tops = page.eval_on_selector_all(".response", "panes => panes.map(pane => pane.scrollTop)")
        assert tops[0] > 0
        assert tops[1] == pytest.approx(tops[0], abs=2)

    def test_on_a_phone_nothing_is_cut_off(self, sqlite, site, chromium):
        make_project(sqlite, new_items=[pair(0)])
        page = opened(sqlite, site, chromium, "cid")
        page.set_viewport_size({"width": 360, "height": 700})
        page.goto(f"{site}/p/p")
        width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1]

    def test_every_control_has_a_name(self, site, ann):
        for path in ("/p/p", "/account", "/p/p/mine", "/login"):
            ann.goto(f"{site}{path}")
            nameless = ann.evaluate(
                "[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button')]"
                ".filter(e => !e.textContent.trim() && !e.labels?.length && !e.ariaLabel).map(e => e.outerHTML)"
            )
            assert nameless == []

    def test_the_first_admin_comes_in_by_the_link(self, sqlite, site, chromium):
        secret = accounts.first_admin_link(sqlite)
        page = chromium.new_context().new_page()
        page.goto(f"{site}/enter/{secret}")
        page.fill("[name=password]", "correct horse")
        page.fill("[name=again]", "correct horse")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert re.search("Projects", page.inner_text("h1"))
        page.click("text=Log out")
        assert page.url.endswith("/login")
