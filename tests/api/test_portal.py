"""A tenant's page: its own destinations and attempts, and nothing that a visitor can break."""

from collections.abc import AsyncIterator
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest_asyncio

from tests.api.world import World, a_settings
from tests.store.history import History, write

SECRET = "a-secret-of-thirty-two-bytes-or-more"


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World(a_settings(jwt_secret=SECRET))
    async with made.client:
        await made.tenant()
        yield made


async def page(world: World, query: str = "") -> httpx.Response:
    link = (await world.client.get(f"tenants/acme/portal{query}")).json()
    assert link["tenant_id"] == "acme"
    answer = await world.client.get(link["redirect_url"], headers={"authorization": ""})
    assert answer.status_code == 200
    return answer


class Outline(HTMLParser):
    """Tags in the order they are opened; every one that needs it is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_shows_destinations_and_attempts(world: World) -> None:
    await world.destination(id="on", topics=["a", "b"])
    await world.destination(id="off", disabled_at="2026-01-01T00:00:00Z")
    history = History()
    delivery = history.delivery(history.event("e1"), "on")
    history.attempt(delivery, "failed", "a1", body="no <such> order")
    history.attempt(history.delivery(history.event("e2"), "on", 1, manual=True), id_="a2", body="")
    history.attempt(history.delivery(history.event("e3", "other"), "theirs"), id_="a3")
    await write(world.log, history.records)
    html = (await page(world)).text
    for shown in (
        "<h1>acme</h1>",
        "https://example.com/hook",
        "a, b",
        "Enabled",
        'Disabled since <time datetime="2026-01-01T00:00:00.000Z">2026-01-01 00:00:00</time>',
        "Failed (500)",
        "Delivered (200)",
        "<pre>no &lt;such&gt; order</pre>",
        "1, by hand",
    ):
        assert shown in html
    assert "theirs" not in html
    assert html.index(">e2<") < html.index(">e1<")
    tags = Outline(html).tags
    assert (tags.count("table"), tags.count("caption")) == (2, 2)
    assert "script" not in tags


async def test_a_page_without_anything_says_so(world: World) -> None:
    html = (await page(world, "?theme=dark")).text
    assert "There are no destinations yet." in html
    assert "Nothing has been sent yet." in html
    assert '<html lang="en" data-theme="dark">' in html
    assert Outline(html).tags.count("table") == 0


async def test_what_people_entered_is_text(world: World) -> None:
    evil = '"><script>alert(1)</script>'
    await world.destination(topics=[evil], config={"url": f"https://example.com/?{evil}"})
    history = History()
    history.attempt(history.delivery(history.event("e<b>", topic=evil), "d"), body=evil, code="<i>")
    await write(world.log, history.records)
    tags = Outline((await page(world)).text).tags
    assert {"script", "b", "i"} & set(tags) == set()


async def test_nothing_keeps_or_passes_on_the_token(world: World) -> None:
    headers = (await page(world)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")


async def test_without_a_good_token_there_is_no_page(world: World) -> None:
    link = (await world.client.get("tenants/acme/portal")).json()["redirect_url"]
    for url in ("http://router/portal", "http://router/portal?token=x", link + "x"):
        answer = await world.client.get(url)
        assert answer.status_code == 401
        assert "This link is no longer good" in answer.text
        Outline(answer.text)
    world.clock.now += 86_400_000
    assert (await world.client.get(link)).status_code == 401


async def test_the_link_is_to_the_public_url() -> None:
    world = World(a_settings(jwt_secret=SECRET, public_url="https://events.example.com/router/"))
    async with world.client:
        await world.tenant()
        link = (await world.client.get("tenants/acme/portal?theme=light")).json()["redirect_url"]
    parts = urlsplit(link)
    assert (parts.netloc, parts.path) == ("events.example.com", "/router/portal")
    assert parse_qs(parts.query)["theme"] == ["light"]
