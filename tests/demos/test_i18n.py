"""The texts of the pages: three catalogues with the same keys, and the pages that use them."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from realtime import errors
from tests.cases import each

DEMOS = Path(__file__).parents[2] / "demos"
LANGUAGES = ["en", "zh-Hans", "zh-Hant"]
PAGES = sorted(DEMOS.glob("*.html"))
# frame.html is an invisible relay without text; example.html is code to read, in English.
VISIBLE = [page for page in PAGES if page.name not in ("frame.html", "example.html")]
TRANSPORT_PAGES = [DEMOS / f"{script.stem}.html" for script in DEMOS.glob("static/transports/*.js")]
SCRIPTS = sorted((DEMOS / "static").rglob("*.js"))
ATTRIBUTES = ("alt", "placeholder", "aria-label", "title")

NAME = (
    r"(short_polling|long_polling|iframe_streaming|sse|fetch_streaming|websocket"
    r"|realtime|WebSocket|EventSource|SockJS|Socket\.IO)"
)
NAMES = re.compile(rf"\b{NAME}\b")
# Chinese has no space around them.
NAMES_AMONG_CHINESE = re.compile(NAME)
PLACEHOLDER = re.compile(r"\{\w+\}")
CODE = re.compile(r"<code>(.*?)</code>", re.DOTALL)

# The same character in simplified and in traditional writing.
PAIRS = re.findall(
    r"\w\w",
    """
    个個 们們 这這 来來 对對 说說 时時 间間 国國 学學 长長 门門 问問 开開 关關
    应應 务務 连連 线線 网網 络絡 请請 讯訊 轮輪 询詢 页頁 发發 动動 过過 还還
    进進 为為 从從 会會 让讓 给給 错錯 误誤 数數 据據 节節 听聽 读讀 写寫 书書
    见見 观觀 视視 图圖 显顯 单單 双雙 无無 头頭 实實 现現 压壓 缩縮 换換 续續
    断斷 决決 议議 认認 证證 设設 计計 调調 谁誰 谈談 课課 师師 练練 习習 题題
    码碼 钥鑰 号號 条條 滚滾 点點 击擊 选選 择擇 语語 浅淺 标標 签籤 记記 录錄
    带帶 宽寬 传傳 输輸 总總 块塊 结結 构構 况況 钟鐘 边邊 够夠 费費 态態 缓緩
    拥擁 层層 级級 热熱 复復 终終 满滿 顿頓 类類 于於 里裡 么麼 没沒 别別 东東
    车車 张張 吗嗎 员員 响響 岁歲 报報 优優 执執 扩擴 护護 损損 搅攪 样樣 检檢
    桥橋 欢歡 毁毀 浏瀏 览覽 测測 烦煩 状狀 独獨 环環 确確 离離 种種 稳穩 笔筆
    简簡 约約 纯純 组組 细細 经經 统統 维維 编編 罗羅 艺藝 虽雖 补補 试試 话話
    该該 详詳 谢謝 贝貝 负負 账賬 质質 赛賽 踪蹤 转轉 载載 较較 辑輯 达達 迟遲
    适適 邮郵 释釋 链鏈 销銷 键鍵 闭閉 队隊 际際 随隨 难難 顺順 须須 预預 领領
    频頻 额額 验驗 齐齊 龙龍
    """,
)
# Terms of the mainland, which has other names for the same things; but 連接埠 is a port in Taiwan.
MAINLAND_TERMS = [
    "服務器",
    "連接(?!埠)",
    "消息",
    "字節",
    "網絡",
    "默認",
    "信息",
    "客戶端",
    "響應",
    "實時",
    "屏幕",
    "鼠標",
]
TAIWAN_TERMS = [
    "伺服器",
    "连线",
    "讯息",
    "位元组",
    "网路",
    "预设",
    "资讯",
    "浏览器视窗",
    "萤幕",
    "滑鼠",
    "即时通讯软体",
]


def read(language: str) -> dict[str, str]:
    words: dict[str, str] = json.loads((DEMOS / "i18n" / f"{language}.json").read_text("utf-8"))
    return words


CATALOGUES = {language: read(language) for language in LANGUAGES}
ENGLISH = CATALOGUES["en"]


# --- the catalogues ------------------------------------------------------------------------------


@each("language", LANGUAGES)
def test_a_catalogue_is_one_key_a_line_in_order(language: str) -> None:
    written = (DEMOS / "i18n" / f"{language}.json").read_text("utf-8")
    tidy = json.dumps(CATALOGUES[language], ensure_ascii=False, indent=2, sort_keys=True)
    assert written == tidy + "\n"


@each("language", LANGUAGES)
def test_a_key_is_unique_in_a_catalogue(language: str) -> None:
    pairs = json.loads(
        (DEMOS / "i18n" / f"{language}.json").read_text("utf-8"), object_pairs_hook=list
    )
    assert len(pairs) == len({key for key, _ in pairs})


@each("language", LANGUAGES[1:])
def test_the_catalogues_have_the_same_keys(language: str) -> None:
    assert CATALOGUES[language].keys() == ENGLISH.keys()


@each("language", LANGUAGES)
def test_no_text_is_empty(language: str) -> None:
    assert [key for key, words in CATALOGUES[language].items() if not words.strip()] == []


@each("language", LANGUAGES[1:])
@each("pattern", [PLACEHOLDER, CODE], ids=["placeholders", "code"])
def test_translations_keep_placeholders_and_code(language: str, pattern: re.Pattern[str]) -> None:
    def kept(words: str) -> list[str]:
        return sorted(set(pattern.findall(words)))

    translated = CATALOGUES[language]
    assert {key for key in ENGLISH if kept(ENGLISH[key]) != kept(translated[key])} == set()


@each("language", LANGUAGES[1:])
def test_names_are_not_translated(language: str) -> None:
    lost = {
        key: set(NAMES.findall(words)) - set(NAMES_AMONG_CHINESE.findall(CATALOGUES[language][key]))
        for key, words in ENGLISH.items()
    }
    assert {key: names for key, names in lost.items() if names} == {}


def test_simplified_and_traditional_are_not_mixed() -> None:
    simplified, traditional = map(set, zip(*PAIRS, strict=True))
    assert mixed_in(CATALOGUES["zh-Hant"], simplified) == {}
    assert mixed_in(CATALOGUES["zh-Hans"], traditional) == {}


def mixed_in(catalogue: dict[str, str], foreign: set[str]) -> dict[str, set[str]]:
    found = {key: foreign & set(words) for key, words in catalogue.items()}
    return {key: those for key, those in found.items() if those}


@each(("language", "foreign"), [("zh-Hans", TAIWAN_TERMS), ("zh-Hant", MAINLAND_TERMS)])
def test_terms_are_those_of_the_readers_region(language: str, foreign: list[str]) -> None:
    found = {
        key: [word for word in foreign if re.search(word, words)]
        for key, words in CATALOGUES[language].items()
    }
    assert {key: words for key, words in found.items() if words} == {}


def test_every_error_of_the_server_has_a_text() -> None:
    codes = {error.code for error in vars(errors).values() if is_error(error)}
    assert {code for code in codes if f"trouble.{code}" not in ENGLISH} == set()


def is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, errors.RealtimeError)


# --- what the pages use --------------------------------------------------------------------------


def sources() -> dict[str, str]:
    return {str(path.relative_to(DEMOS)): path.read_text("utf-8") for path in PAGES + SCRIPTS}


def code(source: str) -> str:
    """Remove comment lines: they contain examples."""
    return re.sub(r"^\s*//.*$", "", source, flags=re.MULTILINE)


KEY = re.compile(
    r"""\b(?:t|parts)\(\s*["'`]([\w.-]+)["'`]|data-i18n(?:-[a-z-]+)?=["']([^"'$]+)["']"""
)
TEMPLATE = re.compile(r"`(\w[\w-]*\.(?:[\w.-]|\$\{[^{}]*\})*)`")


def test_every_key_that_is_used_exists() -> None:
    unknown = {
        (name, key)
        for name, source in sources().items()
        for key in {one or other for one, other in KEY.findall(code(source))}
        if key not in ENGLISH
    }
    assert unknown == set()


def test_every_key_is_used() -> None:
    everything = "\n".join(code(source) for source in sources().values())
    quoted = set(re.findall(r"""["'`]([\w.-]+)["'`]""", everything))
    # t(`part.${id}`) uses all keys of that form.
    forms = [
        re.compile(".+".join(map(re.escape, re.split(r"\$\{[^{}]*\}", template))))
        for template in TEMPLATE.findall(everything)
        if "${" in template
    ]
    unused = {
        key for key in ENGLISH if key not in quoted and not any(f.fullmatch(key) for f in forms)
    }
    assert unused == set()


class Reader(HTMLParser):
    """Collects the texts of elements with `data-i18n…`, as (key, text)."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self._open: list[tuple[str, str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        for name in ATTRIBUTES:
            if key := values.get(f"data-i18n-{name}"):
                self.texts.append((key, values.get(name, "")))
        self._put(self.get_starttag_text() or "")
        if key := values.get("data-i18n"):
            self._open.append((tag, key, []))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            _, key, words = self._open.pop()
            self.texts.append((key, "".join(words)))
        self._put(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        # As in the catalogue, where visible markup is escaped.
        self._put(data.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))

    def _put(self, text: str) -> None:
        if self._open:
            self._open[-1][2].append(text)


def markup() -> dict[str, str]:
    """All HTML: of the pages, and of template literals in scripts."""
    found = {page.name: page.read_text("utf-8") for page in PAGES}
    for script in SCRIPTS:
        templates = re.findall(r"`[^`]*`", code(script.read_text("utf-8")))
        found[script.name] = "\n".join(text[1:-1] for text in templates if "data-i18n" in text)
    return found


def test_the_english_of_the_pages_is_the_catalogue_s() -> None:
    differing = {}
    for name, text in markup().items():
        reader = Reader()
        reader.feed(text)
        for key, words in reader.texts:
            if "${" not in key + words and " ".join(words.split()) != ENGLISH.get(key):
                differing[name, key] = words
    assert differing == {}


@each("page", VISIBLE, ids=lambda page: page.stem)
def test_a_page_loads_its_theme_before_the_first_paint(page: Path) -> None:
    head = page.read_text("utf-8").partition("</head>")[0]
    assert '<script src="../demos/static/theme.js"></script>' in head


@each("page", TRANSPORT_PAGES, ids=lambda page: page.stem)
def test_the_page_of_a_transport_has_a_drawing_a_history_and_a_title(page: Path) -> None:
    text = page.read_text("utf-8")
    prefix = f"page.{page.stem}"
    for part in ("title", "name", "year", "idea", "drawing", "history"):
        assert f'"{prefix}.{part}"' in text


def test_both_scripts_with_a_list_of_languages_have_the_same() -> None:
    first = (DEMOS / "static" / "theme.js").read_text("utf-8")
    named = re.search(r"LANGUAGES = (\[.*?\])", first)
    assert named
    assert json.loads(named[1]) == LANGUAGES
    words = (DEMOS / "static" / "i18n.js").read_text("utf-8")
    assert re.findall(r'"?([\w-]+)"?: "', re.findall(r"LANGUAGES = \{.*\}", words)[0]) == LANGUAGES


# --- colours -------------------------------------------------------------------------------------

STYLE = (DEMOS / "static" / "style.css").read_text("utf-8")
COLOUR = re.compile(r"--(\w+): light-dark\((#\w+), (#\w+)\)")


def luminance(colour: str) -> float:
    """WCAG 2.2: relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@each("theme", ["light", "dark"])
def test_every_text_colour_has_enough_contrast(theme: str) -> None:
    index = 2 if theme == "light" else 3
    colours = [(found[1], found[index]) for found in COLOUR.finditer(STYLE)]
    backgrounds = [colour for name, colour in colours if name in ("paper", "panel")]
    texts = {colour for name, colour in colours if name not in ("paper", "panel", "line")}
    assert len(backgrounds) == 2
    assert len(texts) >= 10
    # WCAG level AA requires 4.5.
    assert [(t, g) for t in texts for g in backgrounds if contrast(t, g) < 4.5] == []
