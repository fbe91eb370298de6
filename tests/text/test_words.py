"""What a reader takes for the same word finds it, and what a reader tells apart is told apart: neighbours by kind."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations import Document, MemoRAG
from memorag_integrations.text.terms import query_terms, terms

FILLING = {
    "en": "The keeper lit the lamp every evening and wrote the weather into a thick book before supper.",
    "de": "Der Wärter schrieb jeden Abend das Wetter in ein dickes Buch und ging dann zu Bett.",
    "fr": "Le gardien notait chaque soir le temps dans un gros livre avant de dîner.",
    "es": "El guardián anotaba cada noche el tiempo en un libro grueso antes de cenar.",
    "pt": "O guarda anotava todas as noites o tempo num livro grosso antes de jantar.",
    "pl": "Strażnik co wieczór zapisywał pogodę w grubej książce i szedł spać.",
    "cs": "Strážce každý večer zapisoval počasí do tlusté knihy a šel spát.",
    "vi": "Người gác đèn ghi thời tiết vào một cuốn sách dày mỗi buổi tối.",
    "tr": "Bekçi her akşam havayı kalın bir deftere yazar ve sonra uyurdu.",
    "da": "Vogteren skrev hver aften vejret ned i en tyk bog og gik i seng.",
    "ru": "Смотритель каждый вечер записывал погоду в толстую книгу.",
    "uk": "Доглядач щовечора записував погоду до товстої книги.",
    "el": "Ο φύλακας έγραφε κάθε βράδυ τον καιρό σε ένα χοντρό βιβλίο.",
    "ar": "كان الحارس يكتب الطقس كل مساء في دفتر سميك.",
    "he": "השומר רשם כל ערב את מזג האוויר במחברת עבה.",
    "fa": "نگهبان هر شب هوا را در دفتری ضخیم یادداشت می‌کرد.",
    "hi": "रखवाला हर शाम मौसम को एक मोटी किताब में लिखता था।",
    "zh": "看守人每天晚上把天气写在一本厚书里。",
    "ja": "看守は毎晩、天気を厚い本に書きました。",
    "ko": "등대지기는 매일 저녁 두꺼운 공책에 날씨를 적었다.",
    "th": "ผู้ดูแลจดสภาพอากาศลงในสมุดเล่มหนาทุกเย็น",
}


def bm25_of(query, texts, language):
    memo = MemoRAG(language=language)
    memo.memorize([Document(text, str(n)) for n, text in enumerate(texts)], progress=False)
    [signals] = memo.corpus.index.signals([query], None)
    return signals.bm25.tolist()


def best(query, texts, language="en"):
    """The text that stands first, and its BM25."""
    scores = bm25_of(query, texts, language)
    return texts[scores.index(max(scores))], max(scores)


SAME = {
    "Hangul: a noun and its particles": [
        ("서울", "서울에서는 전차가 다녔다.", "ko"),
        ("대한민국", "대한민국의 수도는 어디인가.", "ko"),
        ("집", "집에서는 조용하다.", "ko"),
        ("항구", "배들이 항구로부터 떠났다.", "ko"),
        ("도서관", "도서관까지 걸어갔다.", "ko"),
        ("서울에서", "서울은 크다.", "ko"),
    ],
    "one character of Chinese or Japanese": [
        ("灯", "他点亮灯塔。", "zh"),
        ("茶", "他们喝绿茶。", "zh"),
        ("本", "日本語を学ぶ。", "ja"),
        ("犬を", "犬が走る。", "ja"),
        ("ネ", "ネコがいる。", "ja"),
    ],
    "format characters": [
        ("lighthouse", "The light\u00adhouse stands.", "en"),
        ("lighthouse", "The light\u00ad\nhouse stands.", "en"),
        ("lighthouse", "The light\u200bhouse stands.", "en"),
        ("house", "The light\u200bhouse stands.", "en"),
        ("lighthouse", "The light\u2060house stands.", "en"),
        ("lighthouse", "The \ufefflighthouse stands.", "en"),
        ("lighthouse", "The light\u200dhouse stands.", "en"),
        ("lighthouse", "The \u200elighthouse\u200f stands.", "en"),
        ("light\u00adhouse", "The lighthouse stands.", "en"),
        ("میخواهم", "من می\u200cخواهم بروم.", "fa"),
        ("کتاب", "کتاب\u200cها روی میز است.", "fa"),
        ("می خواهم", "من می\u200cخواهم بروم.", "fa"),
        ("क्षण", "वह क्\u200dषण था।", "hi"),
        ("เรือ", "เ\u200bรือ", "th"),
        ("Foo", "The Foo™ is sold here.", "en"),
    ],
    "a hyphen at the end of a line": [
        ("information", "All infor-\nmation is here.", "en"),
        ("information", "All infor\u2010\r\n  mation is here.", "en"),
        ("well known", "It is well-\nknown here.", "en"),
        ("Leuchtturm", "Der Leucht-\nturm steht hier.", "de"),
    ],
    "compatibility forms of PDF fonts": [
        ("file flow", "The ﬁle has a ﬂow.", "en"),
        ("office", "The oﬃce is closed.", "en"),
        ("ABC 123", "ＡＢＣ　１２３", "en"),
        ("长江", "⻓江很长。", "zh"),
        ("风车", "⻛⻋在转。", "zh"),
        ("用水", "⽤⽔很多。", "zh"),
        ("西门见龙", "⻄⻔⻅⻰", "zh"),
        ("カタカナ", "ｶﾀｶﾅで書く。", "ja"),
    ],
    "case as a reader sees it": [
        ("istanbul", "İSTANBUL büyük bir şehirdir.", "tr"),
        ("ışık", "IŞIK söndü.", "tr"),
        ("isik", "Işık söndü.", "tr"),
        ("Internet", "INTERNET yavaş.", "tr"),
        ("İstanbul", "We flew to Istanbul.", "en"),
        ("istanbul", "We flew to İstanbul.", "en"),
        ("Diyarbakir", "We flew to Diyarbakır.", "en"),
        ("Ankara", "Ankara'da hava soğuk.", "tr"),
        ("strasse", "Die Straße ist lang.", "de"),
        ("STRASSE", "Die Straße ist lang.", "de"),
        ("groß", "Das Haus ist GROSS.", "de"),
        ("ΑΘΗΝΑ", "Η Αθήνα είναι μεγάλη.", "el"),
        ("οδός", "Η ΟΔΟΣ είναι μεγάλη.", "el"),
    ],
    "accents left out, or written": [
        ("acao", "A ação começou.", "pt"),
        ("ação", "A acao comecou.", "pt"),
        ("lodz", "Miasto Łódź leży w Polsce.", "pl"),
        ("zazolc", "Zażółć gęślą jaźń.", "pl"),
        ("eleve", "Un élève arrive.", "fr"),
        ("coeur", "Le cœur bat.", "fr"),
        ("manana", "Vuelve mañana.", "es"),
        ("prilis", "Příliš mnoho.", "cs"),
        ("Mueller", "Herr Müller kommt.", "de"),
        ("Muller", "Herr Müller kommt.", "de"),
        ("Müller", "Herr Mueller kommt.", "de"),
        ("Mueller", "We met Mr. Müller there.", "en"),
        ("Haefen", "Die Häfen sind offen.", "de"),
        ("Oersted", "Hans Christian Ørsted kom.", "da"),
        ("Orsted", "We read Ørsted there.", "en"),
        ("dac biet", "Món đặc biệt.", "vi"),
        ("guzel", "Güzel bir gün.", "tr"),
        ("елка", "В комнате стоит ёлка.", "ru"),
        ("замок", "Мы видели за\u0301мок.", "ru"),
        ("компютер", "Новий комп’ютер працює.", "uk"),
        ("كتاب", "هذا كِتَابٌ جديد.", "ar"),
        ("שלום", "שָׁלוֹם לכולם.", "he"),
        ("हिन्दी", "वह हिन्दी बोलता है।", "hi"),
        ("eau", "Il boit de l’eau.", "fr"),
    ],
    "identifiers in other spellings": [
        (query, f"Part {text} is in stock.", "en")
        for group in (
            ("AX-4410-B", "AX4410B", "ax 4410 b", "AX 4410 B", "ax-4410-b"),
            ("Wi-Fi", "wifi"),
            ("COVID-19", "covid19", "COVID 19", "Covid‑19"),
            ("1,250,000", "1250000", "1\u00a0250\u00a0000", "1.250.000", "1 250 000", "1'250'000"),
            ("PEP 3107", "PEP3107", "PEP-3107", "pep 3107"),
            ("read_file", "readFile", "read-file", "ReadFile"),
            ("e-mail", "email", "E-Mail"),
            ("Node.js", "NodeJS", "node.js"),
            ("utf-8", "UTF8", "utf_8"),
            ("foo_bar.py", "FooBar.py"),
            ("O'Brien", "OBrien", "O’Brien"),
            ("AT&T", "ATT"),
            ("§ 12 (3)", "§12(3)", "12 (3)"),
            ("2024-05-12", "20240512"),
        )
        for query in group
        for text in group
        if query != text
    ],
    "a part of something longer": [
        ("wi fi", "Our WiFi is slow.", "en"),
        ("e mail", "Send an email now.", "en"),
        ("192.168.100", "The host 192.168.100.101 is up.", "en"),
        ("14.2", "Version 14.2.1.0 is out.", "en"),
        ("2.0.0", "Use v2.0.0-rc1 for now.", "en"),
        ("2024", "Signed on 12.05.2024 here.", "en"),
        ("2024", "Signed on 2024-05-12 here.", "en"),
        ("example.org", "See https://www.example.org/a/b?x=1 for more.", "en"),
        ("jane", "Write to jane.doe@example.com today.", "en"),
        ("bar", "See foo_bar.py for more.", "en"),
        ("foobar", "See foo_bar.py for more.", "en"),
        ("net", "Built on ASP.NET today.", "en"),
        ("1250", "Der Preis ist 1.250 Euro.", "de"),
        ("3.35", "Es kostet 3,35 Euro.", "de"),
        ("123", "الرقم ١٢٣ هنا.", "ar"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("query", "text", "language"),
    [case for cases in SAME.values() for case in cases],
    ids=lambda value: repr(value)[:40],
)
def test_the_same_for_a_reader_is_found(query, text, language):
    found, bm25 = best(query, [FILLING[language], text, FILLING[language][::-1]], language)
    assert found == text
    assert bm25 > 0


APART = {
    "versions, addresses, numbers": [
        ("14.2.1.0", "14.2.0.1"), ("10.0.0.12", "10.0.12.0"), ("$19.99", "$99.19"), ("3.35", "3.5"), ("3.35", "3.53"),
        ("v2.0.0-rc1", "v2.0.1-rc0"), ("2024-05-12", "2024-12-05"), ("10:30", "30:10"), ("1-12", "11-2"),
        ("1,250,000", "1,000,250"), ("12.5%", "5.12%"),
    ],
    "signs": [
        ("C", "C++"), ("C++", "C"), ("C#", "C"), ("C#", "C++"), ("C++", "C#"), ("F#", "F"), (".NET", "net"), ("A+", "A"),
        ("g++", "g"), ("C++17", "C++11"),
    ],
    "part numbers and sections": [
        ("AX-4410-B", "AX-4401-B"), ("AX-4410-B", "BX-4410-A"), ("AX-4410-B", "AX-4410-C"), ("§ 12 (3)", "§ 3 (12)"),
        ("§ 12 (3)", "§ 12 (4)"), ("PEP 3107", "PEP 3017"), ("PEP 3107", "3107 PEP"), ("COVID-19", "COVID-91"),
        ("ISO 9001", "ISO 1009"),
    ],
    "names of files, addresses, code": [
        ("foo_bar.py", "foo_bar.js"), ("jane.doe@example.com", "doe.jane@example.com"), ("__init__", "init"),
        ("https://example.org/a/b", "https://example.org/b/a"), ("readFile", "fileRead"),
    ],
    "negations": [
        ("not allowed", "allowed"), ("isn't allowed", "allowed"), ("cannot enter", "enter"), ("no smoking", "smoking"),
        ("never open", "open"), ("without sugar", "sugar"),
    ],
    "names in capitals": [("WHO", "who"), ("IT", "it"), ("What does the WHO do?", "who")],
}  # fmt: skip


@pytest.mark.parametrize(("query", "other"), [case for cases in APART.values() for case in cases])
@pytest.mark.parametrize("first", [True, False])
def test_what_a_reader_tells_apart_is_told_apart(query, other, first):
    wanted = query.removeprefix("What does the ").removesuffix(" do?")
    texts = [f"Here it is {wanted} that we talk of.", f"Here it is {other} that we talk of."]
    scores = bm25_of(query, texts if first else texts[::-1], "en")
    right, wrong = scores if first else scores[::-1]
    assert right > wrong


@pytest.mark.parametrize(
    "identifier",
    ["AX-4410-B", "PEP 3107", "v2.0.0-rc1", "14.2.1.0", "foo_bar.py", "jane.doe@example.com", "C++", "3.35"],
)
def test_an_identifier_outweighs_ordinary_words(identifier):
    texts = [
        f"Stock list: {identifier}, in the second hall.",
        "The price and the warranty terms of our products follow.",
        "A warranty covers the price of repairs.",
    ]
    assert best(f"What is the price and the warranty of {identifier}?", texts)[0] == texts[0]


@pytest.mark.parametrize(
    ("query", "text", "language"),
    [
        ("to be or not to be", "To be, or not to be, that is it.", "en"),
        ("who is who", "It tells who is who.", "en"),
        ("the who", "They heard The Who.", "en"),
        ("it", "It is here.", "en"),
        ("WHO", "It tells who comes.", "en"),
        ("wer ist das", "Wer ist das?", "de"),
        ("por qué no", "¿Por qué no?", "es"),
    ],
)
def test_a_query_of_stop_words_alone_keeps_them(query, text, language):
    texts = ["Lamps burn brightly.", text, "Ships sail quickly."]
    found, bm25 = best(query, texts, language)
    assert found == text
    assert bm25 > 0


def test_stop_words_weigh_nothing_beside_other_words():
    assert list(query_terms("what is the lamp of the keeper", ["en"]).weights) == ["lamp", "keeper"]


def test_capitals_say_nothing_in_a_query_of_capitals():
    assert list(query_terms("WHAT IT IS ABOUT THE LAMP", ["en"]).weights) == ["lamp"]


def test_the_spellings_of_one_word_share_its_weight():
    weights = query_terms("ação", ["pt"]).weights
    assert len(weights) == 2
    assert sum(weights.values()) == pytest.approx(1)
    assert sum(query_terms("long-term", ["en"]).weights.values()) == pytest.approx(2), "as two words would have"


INVISIBLE = st.sampled_from("\u00ad\u2060\ufeff\u200d\u200e\u034f\ufe0f")


@given(st.text("abcdefghijklmnop", min_size=2, max_size=12), st.data())
def test_invisible_characters_change_no_word(word, data):
    at = data.draw(st.integers(0, len(word)))
    assert terms(word[:at] + data.draw(INVISIBLE) + word[at:], "en") == terms(word, "en")


@given(st.lists(st.integers(0, 999), min_size=2, max_size=5), st.randoms())
def test_a_version_is_no_other_version(parts, random):
    version = ".".join(map(str, parts))
    random.shuffle(parts)
    other = ".".join(map(str, parts))
    assert (version in terms(other, "en")) == (version == other)


@given(st.integers(1_000, 10**12))
def test_a_number_is_found_whatever_groups_its_digits(number):
    for mark in (",", "\u00a0", "\u202f", "'", "’"):
        assert str(number) in terms(f"{number:,}".replace(",", mark), "en")


@given(st.text(st.characters(categories=["Ll", "Lu"]), min_size=1, max_size=10))
def test_what_is_indexed_is_what_is_searched(word):
    found = query_terms(word, ["en"]).weights
    assert found.keys() <= {*terms(word, "en"), word.upper(), *(term.upper() for term in found)}


def test_a_query_finds_nothing_twice_over_a_thread_pool():
    texts = [f"The keeper{n} wrote v{n}.0.1 into the book-{n}." for n in range(200)]
    alone = [terms(text, "en") for text in texts]

    async def together():
        return await asyncio.gather(*(asyncio.to_thread(terms, text, "en") for text in texts * 3))

    assert asyncio.run(together()) == alone * 3


WARNED = "another language"


def warnings_of(caplog, texts, *queries, language="auto"):
    memo = MemoRAG(language=language)
    memo.memorize(texts, progress=False)
    caplog.clear()
    for query in queries:
        memo.retrieve(query, 1)
    return sum(WARNED in record.message for record in caplog.records)


@pytest.mark.parametrize("query", ["灯台守の仕事", "Кто зажигал фонари вечером", "Wer zündete die Laternen abends an"])
def test_another_language_is_named_once_a_corpus(caplog, query):
    texts = ["The keeper lit the lamp every evening.", "Ships found their way into the harbour by night."]
    assert warnings_of(caplog, texts, query, query, query + " ?") == 1


@pytest.mark.parametrize(
    "query", ["zebra crossing", "xyzzy", "zebras eat green grass in the morning sun", "12345", "?!"]
)
def test_a_query_in_the_language_of_the_corpus_is_not_told_to_be_in_another(caplog, query):
    texts = ["The keeper lit the lamp every evening.", "Ships found their way into the harbour by night."]
    assert warnings_of(caplog, texts, query) == 0


@given(
    st.text(st.sampled_from("Aa1 .,-_'’/@:#+()§灯カ서é\n\u00ad\u200b"), max_size=30),
    st.sampled_from(["en", "de", "fr", "tr", "ko", "ja"]),
)
def test_no_term_has_a_blank_and_each_term_of_a_query_can_be_found(text, language):
    indexed = terms(text, language)
    wanted = query_terms(text, [language])
    assert not [term for term in [*indexed, *wanted.weights, *wanted.joined] if not term or set(term) & set(" \n")]
    capitals = {term.upper() for term in wanted.weights} if text.isupper() else set()
    lone = {term for term in wanted.weights if term.isupper()}
    assert wanted.weights.keys() <= {*indexed, *lone, *capitals, *terms(text.lower(), language)}
