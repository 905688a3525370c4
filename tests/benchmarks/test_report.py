"""The report: lost messages first, theory beside the values, and a self-contained page."""

import json
import re
import string
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from benchmarks.method.results import BENCHMARKS, TRANSPORTS, Estimate, ResultError, parse, read
from benchmarks.report.__main__ import main, report, slug
from benchmarks.report.i18n import CATALOGUE, LANGUAGES, load_translations
from benchmarks.report.page import VENDOR, json_text, libraries
from benchmarks.report.tables import difference_from_theory
from tests.benchmarks.samples import HOSTILE, KINDS, cell, parsed, result, save
from tests.browser.conftest import new_context
from tests.cases import each
from tests.conftest import missing

pytestmark = pytest.mark.unhurried

ROOT = Path(__file__).parents[2]


def html(*results: dict[str, Any]) -> str:
    return report([parse(one, "result.json") for one in results])


@cache
def html_of(kind: str) -> str:
    """The page of one result; it has all languages, so the tests of each language share it."""
    return html(result(kind))


@cache
def html_of_all() -> str:
    """The page of one result of each kind, and a second one of one kind."""
    return html(*(result(kind) for kind in KINDS), result("poll_gap"))


def article(page: str, language: str) -> str:
    """The part of a page in one language: to parse all of it takes three times as long."""
    found = re.search(f'<article[^>]* lang="{language}".*?</article>', page, re.DOTALL)
    assert found
    return found[0]


class Reader(HTMLParser):
    """The text of one language, and every address that the page could fetch."""

    def __init__(self, page: str, language: str = "en") -> None:
        super().__init__()
        self.language, self.article, self.states = language, "", []
        self.text, self.tags, self.addresses, self.ids = "", [], [], []
        self.is_code = False
        self.specs: list[str] = []
        self.feed(page)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(name)
        self.is_code = name in ("script", "style")
        if name == "script" and given.get("type") == "application/json":
            self.specs.append("")
        self.ids += [given["id"]] if given.get("id") else []
        self.addresses += [given[key] for key in ("src", "href", "data", "action") if key in given]
        if name == "article":
            self.article = given["lang"] or ""
        if self.article == self.language and "data-state" in given:
            self.states.append(given["data-state"])
        if name in ("td", "th", "tr", "p", "dt", "dd", "h3", "span"):
            self.text += " "

    def handle_endtag(self, name: str) -> None:
        self.article = "" if name == "article" else self.article
        self.is_code = False

    def handle_data(self, data: str) -> None:
        if self.is_code and self.article:
            self.specs[-1] += data
        elif self.article == self.language:
            self.text += data


# --- translations --------------------------------------------------------------------------------


SEPARATORS = {"and", "colon", "list", "list.or"}


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_three_languages_have_the_same_keys_and_placeholders() -> None:
    texts = json.loads(CATALOGUE.read_text("utf-8"))
    assert list(texts) == list(LANGUAGES)
    english = texts["en"]
    for language in LANGUAGES:
        assert texts[language].keys() == english.keys()
        for key, text in texts[language].items():
            assert text.strip() == text or key in SEPARATORS
            assert placeholders(text) == placeholders(english[key]), (language, key)


@each(("language", "script"), [("zh-Hans", "gb2312"), ("zh-Hant", "big5")])
def test_simplified_and_traditional_are_two_scripts(language: str, script: str) -> None:
    """GB 2312 has only simplified characters, Big5 only traditional ones."""
    texts = json.loads(CATALOGUE.read_text("utf-8"))[language]
    signs = {sign for text in texts.values() for sign in text if "\u4e00" <= sign <= "\u9fff"}
    assert not [sign for sign in signs if not sign.encode(script, "ignore")]


@each(
    ("language", "terms"),
    [
        ("zh-Hans", ["服务器", "连接", "消息", "轮询", "字节", "延迟", "内存", "网络"]),
        ("zh-Hant", ["伺服器", "連線", "訊息", "輪詢", "位元組", "延遲", "記憶體", "網路"]),
    ],
)
def test_each_script_has_its_own_terms(language: str, terms: list[str]) -> None:
    expected = "".join(json.loads(CATALOGUE.read_text("utf-8"))[language].values())
    assert [term for term in terms if term not in expected] == []


# --- the content of a page -----------------------------------------------------------------------


@each("kind", KINDS)
def test_each_kind_has_its_question_in_each_language(kind: str) -> None:
    for language, texts in json.loads(CATALOGUE.read_text("utf-8")).items():
        text = Reader(article(html_of(kind), language), language).text
        assert texts[f"title.{kind}"] in text
        assert texts[f"question.{kind}"] in text
        assert "2026-11-23 08:20 UTC" in text
        assert "Example 9000" in text


def test_lost_messages_are_a_warning() -> None:
    counts = {"acknowledged": 1200, "lost": 3, "doubled": 1, "misplaced": 0}
    page = Reader(html(result("latency", correctness=counts)))
    assert page.states == ["bad"]
    assert "The delivery guarantee is broken: 3 lost, 1 duplicated." in page.text
    assert "report lost, duplicated or reordered messages" in page.text


def test_correctness_shows_what_was_counted() -> None:
    page = Reader(html_of("recovery"))
    assert page.states == ["good"]
    assert "The delivery guarantee holds: 0 lost, 0 duplicated." in page.text
    assert "is broken" not in page.text


@each(
    ("counts", "expected"),
    [
        ({}, "does not say whether messages were lost"),
        ({"lost": None, "doubled": None}, "does not say whether messages were lost"),
        ({"acknowledged": 0, "lost": 0}, "No messages were sent"),
    ],
)
def test_without_counts_correctness_is_unknown(counts: dict[str, Any], expected: str) -> None:
    page = Reader(html(result("latency", correctness=counts)))
    assert page.states == ["unknown"]
    assert expected in page.text


def test_correctness_comes_before_every_plot() -> None:
    text = Reader(html_of("latency")).text
    section = text[text.index("How long does a message take") :]
    section = section[section.index("2026-11-23 08:20 UTC, on") :]
    assert section.index("The delivery guarantee holds") < section.index("Latency distribution")


def test_it_shows_the_delay_of_the_load_generator() -> None:
    text = Reader(html_of("latency")).text
    assert "load generator delay, p99 (ms) 0.3" in text
    nothing = {"late_p99_ms": None, "late_max_ms": None, "cpu_share": None}
    assert "load generator" not in Reader(html(result("latency", generator=nothing))).text


def test_theory_and_the_difference_are_beside_the_measured_value() -> None:
    one = cell({"transport": "sse", "network": "none", "rate": "10/s"}, {"p50": None})
    one["summary"] = {"p50": {"value": 1.2, "low": 1.1, "high": 1.4}}
    one["theory"] = {"p50": 0.8}
    text = Reader(html(result("latency", cells=[one]))).text
    assert "1.2 (1.1–1.4) 0.8 +50 %" in text


@each(
    ("value", "theory", "expected"),
    [(1.5, 1.0, "+50 %"), (0.5, 1.0, "−50 %"), (1.0, 1.0, "0 %"), (1.0, 0.0, "–"), (1, None, "–")],
)
def test_the_difference_is_relative_to_theory(
    value: float, theory: float | None, expected: str
) -> None:
    assert difference_from_theory(Estimate(value), theory) == expected


def test_an_incomplete_run_is_marked() -> None:
    assert "stopped before it finished" in Reader(html(result("poll_gap", complete=False))).text
    assert "stopped" not in Reader(html_of("poll_gap")).text


def test_one_run_has_no_interval_and_a_sentence_about_it() -> None:
    one = cell({"transport": "sse"}, {"cpu_ms": 2.0}, runs=1)
    one["summary"] = {"cpu_ms": {"value": 2.0, "low": None, "high": None}}
    text = Reader(html(result("idle_cost", cells=[one]))).text
    assert "No interval: an interval needs two runs or more." in text
    assert "No interval" not in Reader(html_of("idle_cost")).text


def test_a_value_that_was_not_measured_is_a_dash() -> None:
    one = cell({"transport": "sse"}, {"cpu_ms": None, "memory_kib": None})
    assert (
        "Server-sent events (SSE) – – – – –" in Reader(html(result("idle_cost", cells=[one]))).text
    )


def test_two_files_of_a_kind_are_both_shown() -> None:
    other = result("idle_cost", started="2026-11-25T10:00:00+00:00", machine={"cpu": "Other 1"})
    page = Reader(html(result("idle_cost"), other))
    assert page.text.index("2026-11-23 08:20") < page.text.index("2026-11-25 10:00")
    assert "Other 1" in page.text
    assert {"en-idle-cost", "en-idle-cost-2"} <= set(page.ids)


def test_an_unknown_benchmark_has_a_table_and_no_chart() -> None:
    page = Reader(html(result("latency", benchmark="weather")))
    assert "no charts for this benchmark" in page.text
    assert page.specs == []
    assert "p50 (half are faster)" in page.text


def test_an_unknown_measure_has_the_label_of_its_file() -> None:
    measures = {"drops": {"unit": "per hour", "label": "drops of rain"}}
    one = cell({"town": "Aachen"}, {"drops": 12.0})
    page = html(
        result("latency", benchmark="rain", measures=measures, factors=["town"], cells=[one])
    )
    text = Reader(page).text
    assert "drops of rain, per hour" in text
    assert "Aachen" in text


def test_transports_are_in_their_order() -> None:
    cells = list(reversed(KINDS["idle_cost"]()["cells"]))
    found = parsed("idle_cost", cells=cells)
    assert found.levels("transport") == list(TRANSPORTS)
    assert [one.factors["transport"] for one in found.ordered] == list(TRANSPORTS)


def test_benchmarks_are_in_their_order(tmp_path: Path) -> None:
    save(tmp_path, *(result(kind) for kind in reversed(BENCHMARKS)))
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    ids = Reader((tmp_path / "out/report.html").read_text("utf-8")).ids
    known = {f"en-{slug(kind)}": slug(kind) for kind in BENCHMARKS}
    assert [known[name] for name in ids if name in known] == [slug(kind) for kind in BENCHMARKS]


def test_the_budget_shows_what_holds_what_fails_and_what_was_not_measured() -> None:
    text = Reader(html_of("peers")).text
    pair = "server CPU per delivery {} 0.{} (0."
    assert pair.format("socket.io websocket", 42) in text
    budget = text[text.index("Performance budget") :]
    assert re.search(r"0\.75 +holds", budget)
    assert re.search(r"0\.08 +does not hold", budget)
    assert re.search(r"0\.9 +not measured", budget)


def test_a_short_run_has_no_verdict_about_limits() -> None:
    """A short run shows the values of its limits; only five full runs can judge them."""
    quick = {"settings": {"quick": True, "runs": 5}}
    for kind in ("peers", "burst", "publish"):
        text = Reader(html(result(kind, **quick))).text
        limits = len(result(kind).get("bounds", [])) + len(result(kind).get("budget", []))
        assert f"{limits} limits are not judged" in text
        assert "not judged: too few or too short runs" in text
        assert "does not hold" not in text
        assert not re.search(r"(?<!guarantee )\bholds", text)
    cells = [cell({"via": "websocket"}, {"per_second": 10.0}, runs=4)]
    text = Reader(html(result("publish", cells=cells))).text
    assert "1 limits are not judged" in text


def test_the_limits_are_summed_up_before_the_charts() -> None:
    text = Reader(html_of("burst")).text
    assert "1 of 2 limits do not hold; 0 hold." in text
    assert "All limits hold (1 of 1)." in Reader(html_of("publish")).text


def test_an_open_end_is_shown_as_at_least() -> None:
    assert "WebSocket ≥ 4,000" in Reader(html_of("capacity")).text


# --- a self-contained page -----------------------------------------------------------------------


def test_the_page_fetches_nothing() -> None:
    page = html_of_all()
    found = Reader(page)
    assert {address for address in found.addresses if not address.startswith("#")} == {"data:,"}
    assert not {"iframe", "img", "object", "embed", "base"} & set(found.tags)
    outside = re.findall(r"https?://[^\"'\s<]+|url\(|@import", page.replace(libraries(), ""))
    assert set(outside) <= {"https://vega.github.io/schema/vega-lite/v6.json"}
    assert "default-src &#x27;none&#x27;" in page or "default-src &#39;none&#39;" in page
    assert "unsafe" not in page.split("</head>")[0].split("<style>")[0]


def test_the_libraries_are_inside_with_their_licences() -> None:
    if not VENDOR.exists():
        missing("vega, which make test downloads,")
    for name in ("vega", "vega-lite", "vega-embed"):
        licence = (VENDOR / name / "LICENSE").read_text("utf-8")
        assert licence in libraries()
    # Neither ends the script element, or makes it ignore its end.
    assert "</script" not in libraries().lower()
    assert "<!--" not in libraries()


def test_without_the_libraries_the_page_has_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.report.page.VENDOR", tmp_path / "nothing")
    libraries.cache_clear()
    try:
        save(tmp_path / "in", result("idle_cost"))
        assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    finally:
        libraries.cache_clear()
    page = Reader((tmp_path / "out" / "report.html").read_text("utf-8"))
    assert page.tags.count("script") == 1
    assert page.specs == []
    assert "Memory: no chart; the table has the values." in page.text
    assert "make bench" in capsys.readouterr().err


def test_each_figure_has_its_specification_in_each_language() -> None:
    found = Reader(html_of("capacity"))
    specs = [json.loads(spec) for spec in found.specs]
    titles = [load_translations()[language].t("plot.capacity") for language in LANGUAGES]
    assert [spec["title"] for spec in specs if spec["title"] in titles] == titles


def test_every_link_has_a_target_and_every_id_is_unique() -> None:
    found = Reader(html_of_all())
    assert len(found.ids) == len(set(found.ids))
    assert {a[1:] for a in found.addresses if a.startswith("#")} <= set(found.ids)


def hostile() -> dict[str, Any]:
    """A result file in which every text is an attack."""
    text = json.dumps(result("overhead"))
    for word in ("sse", "Example 9000 @ 3.0 GHz", "Loopback", "tornado", "label of segments"):
        text = text.replace(word, json.dumps(HOSTILE)[1:-1])
    return json.loads(text) | {"started": HOSTILE, "seed": HOSTILE, "server": {HOSTILE: [HOSTILE]}}


@each("kind", ["overhead", HOSTILE])
def test_hostile_text_stays_text(kind: str) -> None:
    page = html({**hostile(), "benchmark": kind})
    found = Reader(page)
    # Its own two, and data that is no code.
    assert found.tags.count("script") == 2 + len(found.specs)
    assert "b" not in found.tags
    assert "</script><b onclick=" in found.text
    page = page.replace(libraries(), "")
    assert not set("\x00\x1b\u202e\ud800") & set(page)
    page.encode()
    for spec in found.specs:
        json.loads(spec)


def test_json_in_a_page_cannot_end_its_element() -> None:
    text = json_text({"a": "</script><!--"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--"}


# --- the command line ----------------------------------------------------------------------------


def test_it_writes_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = save(tmp_path / "in", result("latency"), result("poll_gap"))
    out = tmp_path / "out"
    assert main([*map(str, files), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'report.html'}\n"
    assert [path.name for path in out.iterdir()] == ["report.html"]


BROKEN = {
    "not JSON": "{",
    "not UTF-8": b"\xff\xfe{}",
    "an array": "[]",
    "no benchmark": "{}",
    "no date": '{"benchmark": "gap"}',
    "NaN": '{"benchmark": "gap", "started": "", "seconds": NaN}',
    "infinite": '{"benchmark": "gap", "started": "", "seconds": 1e999}',
    "text for a number": '{"benchmark": "gap", "started": "", "correctness": {"lost": "3"}}',
    "a flag for a number": '{"benchmark": "gap", "started": "", "correctness": {"lost": true}}',
    "cells that are none": '{"benchmark": "gap", "started": "", "cells": [1]}',
    "a curve of triples": '{"benchmark": "gap", "started": "", "cells": [{"ecdf": [[1, 2, 3]]}]}',
    "deep": '{"benchmark":' + "[" * 100_000,
    "endless digits": '{"benchmark": "gap", "started": "", "seconds": ' + "9" * 10_000 + "}",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_in_one_line_and_nothing_is_written(
    content: str | bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "in", result("latency"))
    bad = tmp_path / "in" / "bad.json"
    bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{bad}: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="nothing\\.json: No such file"):
        read(tmp_path / "nothing.json")


def test_a_folder_without_results_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"{tmp_path}: no *.json in this folder\n"


def test_an_output_folder_that_is_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "in", result("poll_gap"))
    (tmp_path / "out").write_text("a file, not a folder")
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'out'}: ")


@each("module", ["report", "compare"])
def test_help_has_examples(module: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{module}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m benchmarks.{module} " in done.stdout.split("examples:")[1]


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that can answer, and of a hostile result; tests of charts have the other kinds."""
    if not VENDOR.exists():
        missing("vega, which make test downloads,")
    folder = tmp_path_factory.mktemp("report")
    kinds = ("latency", "overhead", "fanout", "idle_cost", "peers")
    save(folder / "in", *map(result, kinds), {**hostile(), "complete": False})
    assert main([str(folder / "in"), "--out", str(folder / "out")]) == 0
    return folder / "out" / "report.html"


# What is wider than its box, in the article that is shown.
CUT = """selector => [...document.querySelectorAll(selector)]
  .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
  .map(e => `${e.getAttribute("aria-label")}: ${e.scrollWidth} > ${e.clientWidth}`)"""
# The language in which the page starts, by that of the browser.
STARTS = """() => {
  const shown = (preferred) => {
    Object.defineProperty(navigator, "language", { value: preferred, configurable: true });
    return startLanguage();
  };
  return ["en-GB", "fr-FR", "zh-CN", "zh-SG", "zh-TW", "zh-Hant-HK"].map(shown);
}"""


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_answers_draws_and_saves(browser: Browser, page_file: Path) -> None:
    """All promises of the page in one load, since loading it takes most of the time."""
    size: Any = {"width": 1280, "height": 720}
    errors: list[str] = []
    asked: list[str] = []
    async with new_context(
        browser, errors, viewport=size, color_scheme="dark", locale="zh-TW"
    ) as context:
        page = await context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(page_file.as_uri())
        # It starts in the language of the browser; the switch changes language and title.
        await expect(page.locator("article:visible")).to_have_attribute("lang", "zh-Hant")
        assert await page.evaluate(STARTS) == ["en", "en", *["zh-Hans"] * 2, *["zh-Hant"] * 2]
        await page.get_by_label("English").check()
        await expect(page).to_have_title("Which transport, when?")
        assert await page.evaluate("document.documentElement.lang") == "en"
        article = page.locator("article[lang=en]")
        # The answer is on the first screen, and nothing is cut off, folded tables included.
        answer = article.locator(".answer")
        await expect(answer.locator(".question")).to_contain_text("Take ")
        box = await answer.locator("table").bounding_box()
        assert box
        assert box["y"] + box["height"] <= size["height"]
        await article.evaluate("e => e.querySelectorAll('details').forEach(d => d.open = true)")
        assert await page.evaluate(CUT, "article[lang=en] :is(.scroll, h1, h2, h3, td)") == []
        # A chart is drawn without eval, and shows its value under the pointer.
        figure = page.locator("#en-answer-delay")
        await expect(figure).to_have_attribute("data-drawn", "yes")
        bar = figure.locator("path[fill='#8a5a00']").first
        await bar.hover()
        await expect(page.locator(".vg-tooltip.visible")).to_contain_text("Short polling: ")
        # The colours are those of the theme, and on paper those of paper.
        colour = "e => getComputedStyle(e).fill"
        assert await bar.evaluate(colour) == "rgb(230, 159, 0)"
        await page.emulate_media(media="print", color_scheme="dark")
        assert await bar.evaluate(colour) == "rgb(138, 90, 0)"
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(255, 255, 255)"
        await expect(page.get_by_label("English")).to_be_hidden()
        await page.emulate_media(media="screen")
        # A chart can be saved, as a picture and as data, with its title.
        for kind, start in [("svg", b"<svg"), ("png", b"\x89PNG"), ("json", b'{\n "$schema"')]:
            async with page.expect_download() as download:
                await figure.locator(f"[data-format={kind}]").click()
            saved = Path(await (await download.value).path()).read_bytes()
            assert saved.startswith(start), kind
            assert kind == "png" or b">Delay<" in saved or b'"title": "Delay"' in saved
        # On a phone, and on a projector.
        for width in (360, 1920):
            await page.set_viewport_size({"width": width, "height": 800})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(CUT, "article[lang=en] .answer :is(th, td)") == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [page_file.as_uri()]
    assert errors == []


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_nothing_of_the_reference_is_cut_off(browser: Browser, tmp_path: Path) -> None:
    """Its tables are wider than those of small results: every transport, and intervals."""
    assert main([str(ROOT / "benchmarks/reference"), "--out", str(tmp_path)]) == 0
    size: Any = {"width": 1280, "height": 720}
    errors: list[str] = []
    async with new_context(browser, errors, viewport=size, locale="en-GB") as context:
        page = await context.new_page()
        await page.goto((tmp_path / "report.html").as_uri())
        article = page.locator("article[lang=en]")
        box = await article.locator(".answer table").bounding_box()
        assert box
        assert box["y"] + box["height"] <= size["height"]
        await article.evaluate("e => e.querySelectorAll('details').forEach(d => d.open = true)")
        assert await page.evaluate(CUT, "article[lang=en] :is(.scroll, h1, h2, h3, td)") == []
    assert errors == []


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_the_switch_needs_no_script(browser: Browser, tmp_path: Path) -> None:
    save(tmp_path / "in", result("poll_gap"))
    assert main([str(tmp_path / "in"), "--out", str(tmp_path)]) == 0
    page = await browser.new_page(java_script_enabled=False)
    await page.goto((tmp_path / "report.html").as_uri())
    await expect(page.locator("article[lang=en]")).to_be_visible()
    await page.get_by_label("简体").check()
    await expect(page.locator("article[lang=zh-Hans]")).to_be_visible()
    await expect(page.locator("article[lang=en]")).to_be_hidden()
    await page.context.close()
