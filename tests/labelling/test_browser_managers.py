"""Every page as a manager sees it, in Chromium: hostile texts, names for what can be used, contrast, and widths."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import insert, select, update

from heedful.labelling import adjudicating, work
from heedful.labelling.database import Database
from heedful.labelling.new_items import NewItem, NewResponse
from heedful.labelling.tables import item, project, suggestion, user
from heedful.types import Message
from tests.labelling.conftest import answered, better, make_project, person
from tests.labelling.test_browser import HOSTILE, chromium, opened, served  # noqa: F401
from tests.labelling.test_formats import EVERYTHING, FULL_ANSWER

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGES = ["dashboard", "items", "item", "data", "settings", "adjudicate", "guidelines", "mine", ""]
ALONE = ["/", "/users", "/account", "/login"]
SIZES = {"desktop": (1280, 800), "phone": (360, 740)}


@pytest.fixture(scope="module")
def db(tmp_path_factory) -> Iterator[Database]:
    """Project p as one has it; project x, in which every text that people or data wrote is hostile."""
    database = Database(str(tmp_path_factory.mktemp("managers") / "labels.db"))
    prompt = [Message("user", "How long do I boil an egg?")]
    texts = ("Seven minutes gives you a **soft** yolk:\n\n1. boil\n2. wait\n3. cool", "`Eggs` are boiled. " * 12)
    responses = [NewResponse([Message("assistant", text)], f"model-{n}") for n, text in enumerate(texts)]
    usual = [NewItem(prompt, responses, f"egg-{n}") for n in range(3)]
    make_project(database, new_items=usual, questions=EVERYTHING, overlap=2)
    other = {**FULL_ANSWER, "preference": {"winner": "r0", "strength": 1}, "ranking": {"ranks": {"r0": 1, "r1": 2}}}
    hostile = [
        NewItem(
            [Message("user", text)],
            [NewResponse([Message("assistant", f"{text} {side}")], f"{text} {side}") for side in "ab"],
            text,
            context={text: text},
        )
        for text in HOSTILE
    ]
    asked = {"preference": {"title": HOSTILE[0]}, "rationale": {"title": HOSTILE[1]}}
    make_project(database, new_items=hostile, questions=asked, slug="x", overlap=2)
    for name, said in (("ann", FULL_ANSWER), ("bob", other)):
        answered(database, name, [said], "p")
    for name, winner in (("dee", "r0"), ("eve", "r1")):
        answered(database, name, [{**better(winner), "rationale": text} for text in HOSTILE[:3]], "x")
    cid = person(database, "cid", member="annotator", slug="x")
    for act in (work.flag_task, work.skip_task):
        task = work.claim(database, cid, "x")
        act(database, cid, task.slot, task.lease_token, "other", HOSTILE[1])
    boss = person(database, "boss", "admin")
    with database.write() as connection:
        rows = {row.external_id: row for row in connection.execute(select(item))}
        said = {"agent": HOSTILE[1], "value": {HOSTILE[0]: HOSTILE[1]}, "score": 0.5, "at": 1.0}
        connection.execute(insert(suggestion).values(item_id=rows[HOSTILE[1]].id, **said))
        connection.execute(update(user).values(display_name=HOSTILE[1]))
        connection.execute(update(project).where(project.c.slug == "x").values(name=HOSTILE[1]))
    adjudicating.adjudicate(database, boss.actor, rows[HOSTILE[1]].public_id, better("r0"), "other", HOSTILE[0])
    yield database
    database.close()


@pytest.fixture(scope="module")
def place(db) -> Iterator[str]:
    """The address of its pages."""
    with served(db) as address:
        yield address


@pytest.fixture(scope="module")
def page(db, place, chromium):  # noqa: F811
    """A manager's page."""
    made = opened(db, place, chromium, "manager-of-all")
    with db.write() as connection:
        connection.execute(update(user).where(user.c.username == "manager-of-all").values(role="admin"))
    made.add_init_script("window.hit = () => { document.title = 'hit'; alert(1) }")
    return made


def addresses(db: Database, slug: str, name: str) -> list[str]:
    with db.read() as connection:
        public = connection.execute(select(item.c.public_id).where(item.c.external_id == name)).scalar_one()
    return [f"/p/{slug}/{f'items/{public}' if one == 'item' else one}".rstrip("/") for one in PAGES]


def test_nothing_runs_and_nothing_is_fetched_on_managers_pages(db, place, page):
    for address in [*addresses(db, "x", HOSTILE[1]), *ALONE[:3]]:
        page.goto(f"{place}{address}")
        page.evaluate("[...document.querySelectorAll('details')].forEach(one => { one.open = true })")
        page.eval_on_selector_all(
            "main a[href^='java'], main a[href^='data']", "links => links.forEach(a => a.click())"
        )
        assert page.title() != "hit", address
        strays = "main img, main iframe, main style, main math, main svg:not(.bars), main form[action^='http']"
        assert page.locator(strays).count() == 0, address
        assert page.evaluate("document.querySelectorAll('main [onerror], main [onload], main [ontoggle]').length") == 0
    assert page.strange == []
    page.goto(f"{place}/p/x/items")
    assert HOSTILE[1] in page.inner_text("main")  # shown as it is


PROBLEMS = """() => {
  const found = [], all = css => [...document.querySelectorAll(css)];
  const seen = e => e.checkVisibility({opacityProperty: true});
  const say = (what, e) => found.push(`${what}: ${e.outerHTML.slice(0, 120)}`);
  if (document.documentElement.lang !== 'en') found.push('no language');
  if (!document.title.trim()) found.push('no title');
  if (all('main').length !== 1) found.push('not one main');
  for (const e of all('input:not([type=hidden]), select, textarea'))
    if (!e.labels?.length && !e.ariaLabel && !e.getAttribute('aria-labelledby')) say('no label', e);
  for (const e of all('button, a[href], summary')) if (!e.textContent.trim() && !e.ariaLabel) say('no name', e);
  for (const e of all('svg, progress, meter')) {
    if (!e.ariaLabel && !e.getAttribute('aria-labelledby') && !e.labels?.length && e.ariaHidden !== 'true'
        && !e.querySelector('title')) say('no name', e);
  }
  for (const e of all('nav')) if (!e.ariaLabel) say('no name', e);
  for (const e of all('th')) if (!e.textContent.trim() && !e.ariaLabel) say('no name', e);
  const ids = all('[id]').map(e => e.id);
  for (const id of new Set(ids)) if (ids.filter(one => one === id).length > 1) found.push(`twice: #${id}`);
  let before = 0;
  const heads = all('h1, h2, h3, h4').filter(seen);
  if (heads.filter(e => e.tagName === 'H1').length !== 1) found.push(`${heads.length} headings, not one h1`);
  for (const e of heads) {
    if (+e.tagName[1] > before + 1) say('heading skips a level', e);
    before = +e.tagName[1];
  }
  const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, low) => [0, 1, 2].map(i => top[i] * top[3] + low[i] * (1 - top[3])).concat(1);
  const ground = e => {
    const layers = [];
    for (; e && layers.at(-1)?.[3] !== 1; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((low, top) => over(top, low), [255, 255, 255, 1]);
  };
  const light = c => { const f = c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  for (const e of all('body *')) {
    if (!seen(e) || e.closest('svg') || e.disabled) continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(e), back = ground(e), ink = rgba(style.color);
    for (let up = e; up; up = up.parentElement) ink[3] *= +getComputedStyle(up).opacity;
    const [a, b] = [light(over(ink, back)), light(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) say(`contrast ${ratio.toFixed(2)}`, e);
  }
  return found;
}"""

FOCUS = """() => {
  const e = document.activeElement, rings = [e, e.nextElementSibling].filter(Boolean).map(one => getComputedStyle(one));
  return e === document.body || rings.some(s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1)
    ? null : e.outerHTML.slice(0, 120);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_and_used(db, place, page, scheme, tmp_path):
    """Names, headings, contrast and a visible focus; nothing wider than the screen."""
    page.emulate_media(color_scheme=scheme)
    found = []
    for address in [*addresses(db, "p", "egg-0"), *ALONE]:
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.goto(f"{place}{address}")
            name = f"{address.strip('/').replace('/', '-') or 'home'}.{size}.{scheme}"
            page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
            problems = page.evaluate(PROBLEMS)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                problems.append("wider than the screen")
            is_work = size == "desktop" and address.endswith(("/p/p", "/adjudicate"))  # of which only panes scroll
            if is_work and page.evaluate("document.documentElement.scrollHeight > innerHeight"):
                problems.append("higher than the screen")
            if (size, scheme) == ("desktop", "light"):
                for _ in range(14):
                    page.keyboard.press("Tab")
                    problems += filter(None, [page.evaluate(FOCUS)])
            found += [f"{name}: {problem}" for problem in problems]
    assert not found, "\n".join(found)
    assert len(list(tmp_path.glob("*.png"))) == 2 * len([*PAGES, *ALONE])
