"""A lesson: the lecturer's window, the projector and the phones of a class.

Most tests share one class, since its pages cost three seconds of CPU to open.
"""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, Route, expect

from realtime.client import post, request
from tests.browser.chat_page import TCP_TRANSPORTS, message
from tests.browser.conftest import new_context
from tests.browser.tabs import new_page
from tests.server_process import Server
from tests.transports.readers import reader

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEY = "sesame"
# Each text of the number of voters.
RECORD_VOTERS = """window.voters = [];
new MutationObserver(() => voters.push(document.getElementById("voters").textContent))
  .observe(document.getElementById("voters"), { childList: true });"""
VOTE_ID = "(room) => JSON.parse(localStorage[`realtime.class.${room}`]).vote.id"
PLAN = {
    "steps": [
        {"minutes": 1, "title": "Join", "show": "join", "notes": "Say hello"},
        {
            "minutes": 2,
            "title": {"en": "Price", "zh-Hant": "價格"},
            "show": "class",
            "transports": ["sse", "websocket"],
            "network": "rtt=4ms",
            "experiment": "messages",
            "answer": "It depends",
        },
        {"minutes": 1, "title": "Read", "show": "page", "page": "glossary", "transports": ["sse"]},
        {"minutes": 1, "title": "Discuss", "show": "question", "ask": "For what?"},
    ]
}


@pytest.fixture(scope="session")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that other machines can reach, with a plan and network emulators."""
    plan = tmp_path_factory.mktemp("plan") / "plan.json"
    plan.write_text(json.dumps(PLAN))
    # The network of a page that was closed stays leased for a minute.
    options = ("--key", KEY, "--networks", "6", "--plan", str(plan))
    with Server("--hub", "memory", "--host", "0.0.0.0", *options) as server:
        server.url = f"http://127.0.0.1:{server.port}"
        yield server


async def open_class(context: BrowserContext, url: str, room: str) -> tuple[Page, Page]:
    """The lecturer's window, and the projector, which a button opens."""
    lecturer = await new_page(context)
    await lecturer.goto(f"{url}/demos/lecturer.html?room={room}&lang=en#key={KEY}")
    await expect(lecturer.locator("#steps tr")).to_have_count(len(PLAN["steps"]))
    async with context.expect_page() as opened:
        await lecturer.click("#project")
    return lecturer, await opened.value


async def open_phone(context: BrowserContext, url: str, room: str) -> Page:
    phone = await new_page(context)
    await phone.goto(f"{url}/demos/class.html?room={room}&lang=en")
    await expect(phone.locator("#state")).to_have_attribute("data-state", "open")
    return phone


@dataclass
class Class:
    """A class that several tests share, with a clock in all of its pages."""

    lecturer: Page
    projector: Page
    url: str
    room: str
    errors: list[str]  # on the console
    phones: list[Page] = field(default_factory=list)

    async def join(self) -> None:
        """Three phones join.  They are dealt over the transports, one after the other."""
        while len(self.phones) < 3:
            self.phones.append(await open_phone(self.lecturer.context, self.url, self.room))
        for phone, via in zip(self.phones, TCP_TRANSPORTS, strict=False):
            await expect(transport(phone)).to_have_attribute("data-via", via)
            await expect(phone.locator("#state")).to_have_attribute("data-state", "open")
        await expect(self.projector.locator("#phones")).to_have_text("phones: 3")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def new_class(browser: Browser, school: Server) -> AsyncIterator[Class]:
    """A class before its lesson, without phones."""
    errors: list[str] = []
    room = f"room-{secrets.token_hex(6)}"
    async with new_context(browser, errors, reduced_motion="reduce") as context:
        await context.clock.install()
        lecturer, projector = await open_class(context, school.url, room)
        yield Class(lecturer, projector, school.url, room, errors)


@pytest_asyncio.fixture(loop_scope="session")
async def joined(new_class: Class) -> Class:
    """The same class at its first step, with three phones, whatever the test before has left."""
    for number, title in ((3, "Discuss"), (0, "Join")):
        await new_class.lecturer.locator("#steps .step").nth(number).click()
        await expect(new_class.lecturer.locator("#step-title")).to_have_text(title)
    await new_class.join()
    new_class.errors.clear()
    return new_class


def transport(phone: Page) -> Locator:
    return phone.locator("#transport .transport-label")


# Before all others: it starts the lesson.
async def test_next_sets_up_each_step_for_projector_and_phones(new_class: Class) -> None:
    lecturer, projector, phones = new_class.lecturer, new_class.projector, new_class.phones
    await expect(projector.locator("#view-wait")).to_be_visible()
    await lecturer.press("body", "ArrowRight")
    await expect(projector.locator("#address")).to_contain_text("/demos/class.html")
    await expect(projector.locator("#command")).to_contain_text("--host 0.0.0.0")
    drawn = "image => image.decode().then(() => image.naturalWidth)"
    assert await projector.locator("#code").evaluate(drawn) > 0
    await expect(lecturer.locator("#notes")).to_have_text("Say hello")
    await new_class.join()

    # With the projector in front, its keys count.  The reload of a window loses nothing.
    await projector.press("body", "PageDown")
    await expect(lecturer.locator("#step-title")).to_have_text("Price")
    await expect(lecturer.locator("#answer")).to_have_text("It depends")
    await expect(projector.locator("#view-class")).to_be_visible()
    for phone, name in zip(phones, ("sse", "websocket", "sse"), strict=True):
        await expect(transport(phone)).to_have_attribute("data-via", name)
        await expect(phone.locator("#state")).to_have_attribute("data-state", "open")
    networks = await lecturer.evaluate(
        "fetch('/networks', { method: 'POST' }).then((answer) => answer.json())"
    )
    assert "port" in networks  # others are left
    await expect(projector.locator("tr[data-via=sse] .phones")).to_have_text("2")
    await lecturer.reload()
    await expect(lecturer.locator("#step-title")).to_have_text("Price")
    await projector.reload()
    await expect(projector.locator("tr[data-via=sse] .phones")).to_have_text("2")

    await lecturer.locator("#steps .step").nth(2).click()
    frame = projector.frame_locator("#page")
    await expect(frame.locator("h1")).to_have_text("Glossary")
    await lecturer.press("body", "ArrowRight")
    await expect(projector.locator("#ask")).to_have_text("For what?")
    await lecturer.press("body", "ArrowRight")
    await expect(lecturer.locator("#next")).to_have_text("The end")
    await lecturer.press("body", "ArrowLeft")
    await expect(lecturer.locator("#step-title")).to_have_text("Read")

    # Each press counts, even while the command of the first is on its way.
    commands: list[Route] = []
    await lecturer.route("**/class/*/messages?*", lambda first: commands.append(first), times=1)
    await lecturer.locator("#steps .step").first.click()
    await expect(lecturer.locator("#step-title")).to_have_text("Join")
    for _ in range(3):
        await lecturer.press("body", "ArrowRight")
    await commands[0].continue_()
    await expect(lecturer.locator("#step-title")).to_have_text("Read")
    assert KEY not in projector.url
    assert new_class.errors == []


async def test_an_experiment_measures_the_phones_alone_and_its_result_stays(joined: Class) -> None:
    lecturer, projector, phones = joined.lecturer, joined.projector, joined.phones
    stranger = await lecturer.context.new_page()  # a page of the room that is no phone
    url = f"{joined.url}/demos/short_polling.html?room={joined.room}&name=Lecturer"
    await stranger.goto(url)
    await expect(stranger.locator("#member-count")).to_have_text("4")
    # A mute does not stop them: the messages are the lecturer's.
    mute = lecturer.get_by_role("button", name="Mute Lecturer", exact=True)
    await mute.press("Enter")
    await lecturer.click("#run-disconnect")
    for phone in phones:
        await expect(phone.locator("#state-text")).to_have_text("Disconnected by the lecturer")
    row = projector.locator("tr[data-via=short_polling]")
    await projector.reload()  # in the middle
    # The pages share a clock: the phones return after 6 s, and half of the time is over.
    await projector.clock.fast_forward(10_000)
    for name in ("short_polling", "long_polling", "iframe_streaming"):
        received = projector.locator(f"tr[data-via={name}] .received")
        await expect(received).to_have_text("20 of 20")
    await expect(projector.locator(".frozen")).to_have_count(0)
    await projector.clock.fast_forward(10_000)
    await expect(projector.locator(".frozen"), "the result").to_be_visible()
    await expect(projector.locator("#run-state")).to_have_text("The result")
    await expect(row.locator(".phones")).to_have_text("1")
    await expect(row.locator(".received")).to_have_text("20 of 20")
    senders = phones[0].locator("#messages li[data-kind=say] .head > :not(.delay)")
    assert set(await senders.all_text_contents()) == {"Experiment (lecturer)"}
    await expect(row.locator(".delay")).to_have_text(re.compile(r"^[\d,]+ ms$"))
    frozen = await projector.locator("#figures").inner_text()
    (await post(joined.url, joined.room, text="afterwards", client="late")).check(201)
    await expect(message(phones[0], "afterwards")).to_have_count(1)
    await projector.reload()
    await expect(projector.locator(".frozen")).to_be_visible()
    assert await projector.locator("#figures").inner_text() == frozen
    assert joined.errors == []
    await mute.press("Enter")  # for the other tests
    await expect(mute).to_have_attribute("aria-pressed", "false")
    await stranger.close()


async def test_the_class_predicts_before_it_measures(joined: Class) -> None:
    lecturer, projector, phones = joined.lecturer, joined.projector, joined.phones
    url, room = joined.url, joined.room
    await projector.evaluate(RECORD_VOTERS)
    await lecturer.select_option("#exercise", "lab_price")
    await lecturer.click("#ask-class")
    for phone, choice in zip(phones, "abc", strict=True):
        await phone.locator(f"#vote input[value={choice}]").check()
    await phones[0].locator("#vote input[value=c]").check()  # the last one counts
    for phone in phones:
        await expect(phone.locator("#vote-state")).to_contain_text("Your vote is in")
    # Whoever has no seat has no vote.
    text = json.dumps({"vote": await lecturer.evaluate(VOTE_ID, room), "choice": "a"})
    await post(url, f"{room}.votes", text=text, client="mallory")
    voters = projector.locator("#voters")
    await expect(voters).to_have_text("Vote on your phone. 3 of 3 have voted.")
    assert "Vote on your phone. 0 of 0 have voted." not in await projector.evaluate("voters")
    counts = projector.locator("#choices .count")
    assert await counts.all_text_contents() == ["", "", ""]

    await phones[1].reload()
    await expect(phones[1].locator("#vote input[value=b]")).to_be_checked()
    await lecturer.press("body", "ArrowRight")
    await expect(voters).to_have_text("3 of 3 phones have voted.")
    for phone in phones:
        await expect(phone.locator("#vote input").first).to_be_disabled()
    await post(url, f"{room}.votes", text=text, client=await client_of(lecturer, room))
    polls: list[str] = []
    projector.on("request", lambda request: polls.append(request.url))
    await projector.reload()
    await expect(voters).to_have_text("3 of 3 phones have voted.")
    # It continues where it was: the room may have dropped the votes that were there.
    assert not any(re.search(rf"{room}\.votes/.*after=\w+-0$", url) for url in polls)
    assert await counts.all_text_contents() == ["0", "1", "2"]
    widths = "all => all.map((bar) => bar.style.width)"
    assert (await projector.locator("#choices .bar").evaluate_all(widths))[0] == "0%"
    await expect(projector.locator("#choices .right")).to_have_count(0)
    await lecturer.press("body", "ArrowRight")
    await expect(projector.locator("#choices .right")).to_have_attribute("data-choice", "c")
    await lecturer.press("body", "ArrowRight")  # the plan goes on
    await expect(lecturer.locator("#step-title")).to_have_text("Price")
    await expect(phones[0].locator("#vote")).to_be_hidden()
    assert joined.errors == []


async def test_forty_phones_of_which_three_are_hostile(
    school: Server, context: BrowserContext, console_errors: list[str], room: str
) -> None:
    lecturer, projector = await open_class(context, school.url, room)
    await lecturer.press("body", "ArrowRight")
    async with AsyncExitStack() as stack:
        for n in range(40):
            seat = await post(school.url, f"{room}.seats", text="seat", client=f"p{n}-{room}")
            assert seat.json()["cursor"].endswith(f"-{n + 1}")
            phone = reader(
                school,
                TCP_TRANSPORTS[n % len(TCP_TRANSPORTS)],
                room,
                client=f"p{n}-{room}",
                name=f"Phone {n}",
            )
            await stack.enter_async_context(phone)
        await expect(projector.locator("#phones")).to_have_text("phones: 40")
        for transport in TCP_TRANSPORTS:
            phones = projector.locator(f"tr[data-via={transport}] .phones")
            await expect(phones).to_have_text("5")

        await lecturer.select_option("#exercise", "lab_price")
        await lecturer.click("#ask-class")
        await expect(projector.locator("#voters")).to_contain_text("0 of 40")
        vote = await lecturer.evaluate(VOTE_ID, room)

        async def choose(client: str, choice: str) -> None:
            text = json.dumps({"vote": vote, "choice": choice})
            await post(school.url, f"{room}.votes", text=text, client=client)

        await asyncio.gather(*(choose(f"p{n}-{room}", "c") for n in range(37)))
        for choice in "abcabcab":  # the first votes again and again
            await choose(f"p37-{room}", choice)
        for n in range(30):  # the second votes for phones that it invents
            await choose(f"invented-{n}", "a")
        command = json.dumps({"text": json.dumps({"vote": None})}).encode()
        path = f"/rooms/{room}.class/messages"  # the third ends the vote
        assert (await request(school.url, "POST", path, body=command)).status == 403
        await expect(projector.locator("#voters")).to_contain_text("38 of 40")
        await lecturer.press("body", "ArrowRight")
        await expect(projector.locator("#choices .count")).to_have_text(["0", "1", "37"])
    assert console_errors == []


async def client_of(lecturer: Page, room: str) -> str:
    """The client of one phone."""
    path = f"/class/{room}/traffic?key={KEY}"
    members = await lecturer.evaluate(f"fetch('{path}').then((answer) => answer.json())")
    return str(members["members"][0]["client"])


async def test_a_student_cannot_direct_the_phones(joined: Class) -> None:
    phone, url, room = joined.phones[0], joined.url, joined.room
    command = {"transports": ["sse"], "run": {"id": "x", "kind": "disconnect", "seconds": 20}}
    body = json.dumps({"text": json.dumps(command), "via": "lecturer"}).encode()
    answer = await request(url, "POST", f"/rooms/{room}.class/messages", body=body)
    assert answer.json()["error"]["code"] == "lecturers_only"
    (await post(url, room, text="still here")).check(201)
    await expect(message(phone, "still here")).to_have_count(1)
    await expect(transport(phone)).to_have_attribute("data-via", "short_polling")


async def test_a_phone_keeps_its_text_field_on_the_screen_and_an_error_passes(
    joined: Class,
) -> None:
    lecturer, phone = joined.lecturer, joined.phones[0]
    await phone.set_viewport_size({"width": 390, "height": 844})
    await lecturer.select_option("#exercise", "lab_sticky")  # the longest
    await lecturer.click("#ask-class")
    await expect(phone.locator("#vote")).to_be_visible()
    await lecturer.click("#run-messages")
    await expect(phone.locator("#notice")).to_contain_text("Fifty messages")
    mute = lecturer.get_by_role("button", name="Mute everybody")
    await mute.click()
    await phone.fill("#text", "may I speak?")
    await phone.press("#text", "Enter")
    await expect(phone.locator("#error")).to_contain_text("muted you")
    for part in ("#text", "#error"):
        box = await phone.locator(part).bounding_box()
        assert box is not None
        assert 0 <= box["y"] < box["y"] + box["height"] <= 844
    assert await phone.evaluate("document.documentElement.scrollWidth") == 390
    await phone.clock.fast_forward(10_000)
    await expect(phone.locator("#error")).to_be_empty()
    line = message(phone, "may I speak?")
    await expect(line.locator(".delay")).to_contain_text("muted you")
    await mute.click()  # for the other tests
    await expect(mute).to_have_attribute("aria-pressed", "false")
