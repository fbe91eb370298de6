from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations import MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.text.analyser import Analyser
from memorag_integrations.text.terms import SNOWBALL, check_language, detect_language, query_terms, terms

SAMPLES = {
    "en": "The keeper lit the lamp every evening, and the ships found their way into the harbour.",
    "de": "Der Wärter zündete jeden Abend die Lampe an, und die Schiffe fanden ihren Weg in den Hafen.",
    "fr": "Le gardien allumait la lampe chaque soir, et les navires trouvaient leur chemin vers le port.",
    "es": "El guardián encendía la lámpara cada noche, y los barcos encontraban su camino hacia el puerto.",
    "ru": "Смотритель каждый вечер зажигал лампу, и корабли находили дорогу в гавань.",
    "el": "Ο φύλακας άναβε τη λάμπα κάθε βράδυ και τα πλοία έβρισκαν τον δρόμο τους για το λιμάνι.",
    "zh": "看守人每天晚上点亮灯，船只便能找到进港的路。",
    "ja": "灯台守は毎晩ランプに火をともし、船は港への道を見つけた。",
    "th": "ผู้ดูแลจุดตะเกียงทุกเย็น และเรือก็หาทางเข้าท่าได้",
    "ko": "등대지기는 매일 저녁 등불을 켰고 배들은 항구로 가는 길을 찾았다.",
}


@pytest.mark.parametrize(("language", "text"), SAMPLES.items())
def test_language_is_detected(language, text):
    assert detect_language(text) == language
    assert detect_language(text * 1000) == language, "of a long text a sample is read"


@pytest.mark.parametrize("text", ["", "   ", "12 + 34 = 46", "?!", "\ufffd"])
def test_a_text_without_letters_has_no_language(text):
    assert detect_language(text) == "und"


def test_words_are_folded_stemmed_and_stopped():
    assert terms("The Ships were SHIPPING ｓｈｉｐ", "en") == ["ship", "ship", "ship", "the", "were"]
    assert terms("die Häfen der Stadt", "de") == [*terms("HÄFEN Stadt", "de"), "der", "die"]
    assert terms("the ships", "und") == ["the", "ships"], "an unknown language is left as it is"


@pytest.mark.parametrize("apostrophe", ["'", "’"])
def test_apostrophes_do_not_part_a_word_from_its_possessive(apostrophe):
    assert terms(f"keeper{apostrophe}s", "en") == terms("keeper", "en")
    assert terms(f"{apostrophe}lamp{apostrophe}", "en") == ["lamp"]
    assert terms(apostrophe, "en") == []


@pytest.mark.parametrize(
    ("identifier", "parts"),
    [
        ("read_file", ["readfile", "read", "file"]),
        ("readFile", ["readfile", "read", "file"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("__getattr__", ["__getattr__", "getattr"]),
        ("utf_8", ["utf8", "8", "utf"]),
        ("grün_weiß", ["grünweiss", "grün", "grun", "gruen", "weiss"]),
        ("naïveTest", ["naïvetest", "naivetest"]),
        ("größe__", ["grösse__", "grösse", "grosse", "groesse"]),
        ("é__è", ["éè", "é", "e", "è"]),
        ("README", ["readme"]),
        ("Lamp", ["lamp"]),
    ],
)
def test_the_parts_of_an_identifier_count_too(identifier, parts):
    assert terms(identifier, "und") == parts


def test_scripts_without_blanks_become_pairs_of_characters_whatever_the_language():
    assert terms("看守人", "zh") == terms("看守人", "en") == ["看守", "守人", "人", "守", "看"]
    assert list(query_terms("看守人", ["zh"]).weights) == ["看守", "守人"], (
        "single characters are for those who ask for one"
    )
    assert terms("看守看守", "zh").count("看守") == 2, "repeats are kept"
    assert set(terms("灯", "ja")) == {"灯"}
    assert terms("เรือ", "th") == ["เร", "รื", "ือ", "ร", "อ", "ื", "เ"]
    assert terms("Python入門guide", "en") == ["python", "guid", "入門", "入", "門"]


def test_a_huge_token_is_cut_and_still_found_by_its_beginning():
    [term] = terms("z" * 100_000, "en")
    assert len(term) <= 64
    assert list(query_terms("z" * 200_000, ["en"]).weights) == [term]


def test_words_of_asking_are_dropped_from_a_query_unless_nothing_is_left():
    assert search("Summarize the discussion about lamps", "en") == ["lamp"]
    assert search("Summary, please summarize", "en") != []
    assert search("summary", "en") == ["summari"]
    assert search("Beschreibe den Leuchtturm", "de") == terms("Leuchtturm", "de")
    assert search("lamp lamp lamps", "en") == ["lamp"], "each term once"
    assert search("?!", "en") == []


def search(query, *languages):
    return list(query_terms(query, languages).weights)


def test_a_query_is_stemmed_for_every_language_of_the_corpus():
    assert {*terms("houses", "en"), *terms("houses", "de")} == set(search("houses", "en", "de"))


def test_a_language_whose_stemmer_is_not_installed_is_left_unstemmed(monkeypatch):
    """PyStemmer 2.2 has no Estonian."""
    monkeypatch.setattr("memorag_integrations.text.analyser._algorithms", lambda: frozenset({"english"}))
    monkeypatch.setattr("memorag_integrations.text.terms.analyser_of", Analyser)
    assert terms("tuletornid", "et") == ["tuletornid"]
    assert terms("lighthouses", "en") == ["lighthous"]


@given(st.text(st.characters(exclude_categories=())), st.sampled_from([*SNOWBALL, "und", "zh", "ko", "pl"]))
def test_any_text_has_a_language_and_terms_without_blanks(text, language):
    assert detect_language(text)
    for term in terms(text, language):
        assert term
        assert not any(map(str.isspace, term))


@pytest.mark.parametrize("language", ["auto", "en", "nds"])
def test_language_codes_are_taken(language):
    assert check_language(language) == language


@pytest.mark.parametrize("language", ["English", "EN", "", "e", "en-GB", None, 5])
def test_what_is_no_language_code_is_refused(language):
    with pytest.raises(InputError, match='"auto" or an ISO 639 code'):
        check_language(language)


def test_names_are_found_by_a_query_in_another_language():
    memo = MemoRAG()
    memo.memorize([*SAMPLES.values(), "Corran Point is where the lighthouse stands."], progress=False)
    found = memo.retrieve("Wer wohnte in Corran Point?", 1)
    assert found[0].text.startswith("Corran Point")


@pytest.mark.parametrize(
    ("query", "language"), [("灯台守", "ja"), ("ตะเกียง", "th"), ("항구로", "ko"), ("корабль", "ru")]
)
def test_a_query_finds_the_text_of_its_script(query, language):
    memo = MemoRAG()
    memo.memorize(SAMPLES.values(), progress=False)
    assert memo.retrieve(query, 1)[0].text == SAMPLES[language]


def test_terms_are_the_same_however_many_chunks_are_kept(monkeypatch):
    texts = [f"the keeper{n} is in the state-of-the-art lamp{n}-room, not here; 灯塔{n}" for n in range(30)]
    known = [terms(text, "en") for text in texts]
    monkeypatch.setattr("memorag_integrations.text.analyser._MOST_KEPT", 3)
    monkeypatch.setattr("memorag_integrations.text.terms.analyser_of", lru_cache(Analyser))
    assert [terms(text, "en") for text in texts * 2] == known * 2
