"""Near-alike is not the same: which texts a reader takes for one, and which for two."""

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorag_integrations import Document, MemoRAG
from memorag_integrations.errors import InputError
from memorag_integrations.retrieval.repeats import Shown, Wording, tokens
from memorag_integrations.retrieval.selection import Selection, select
from tests.conftest import BAKERY, LIGHTHOUSE, RIVER
from tests.retrieval.test_selection import distinct, falling, reasons_for

POLICY = (
    "Annual leave policy. Every employee of the company who works full time has a right to {days} days of paid leave in "
    "the calendar year {year}. Leave is asked for in writing at least two weeks ahead, and the head of the department "
    "answers within three working days. What is not taken by the end of March of the year after is lost."
)
CARD = (
    "Product: {name}. A sturdy {what} for home and workshop. Colour: {colour}. Material: {material}. Weight: {weight} kg. "
    "Delivered within three working days. Two years of warranty. Made in Portugal. Price: {price} euros, tax included."
)
INVOICE = (
    "Invoice {number}. Date: {date}. Bill to: {name}, Harbour Street 4, Halden. For services rendered in the month named "
    "above, according to the contract between both parties. Amount due: {amount}. Payable within thirty days, no discount."
)
CLAUSE = (
    "12.3 Assignment. The licensee {may} assign this agreement to a third party {when} the written consent of the licensor, "
    "and any assignment made {against} this clause is void, unless the law of the licensor's country says otherwise."
)
CARDS = {"name": "AX-4410-B", "what": "pump", "colour": "red", "material": "steel", "weight": "2.5", "price": "19.99"}
INVOICES = {"number": "2024-0117", "date": "3 May 2024", "name": "Ewan Baird", "amount": "€1,250.00"}
CLAUSES = {"may": "may", "when": "with", "against": "against"}

TWO = {
    "years of a policy": (POLICY.format(days=26, year=2022), POLICY.format(days=30, year=2024)),
    "years of a policy, the year alone": (POLICY.format(days=26, year=2022), POLICY.format(days=26, year=2023)),
    "years of a policy, in words": (POLICY.format(days="ten", year=2022), POLICY.format(days="twelve", year=2022)),
    **{
        f"cards, another {key}": (CARD.format(**CARDS), CARD.format(**{**CARDS, key: value}))
        for key, value in {
            "name": "AX-4410-C",
            "what": "drill",
            "colour": "blue",
            "material": "brass",
            "weight": "25",
            "price": "99.19",
        }.items()
    },
    **{
        f"invoices, another {key}": (INVOICE.format(**INVOICES), INVOICE.format(**{**INVOICES, key: value}))
        for key, value in {
            "number": "2024-0171",
            "date": "5 March 2024",
            "name": "Ewan Bard",
            "amount": "$1,250.00",
        }.items()
    },
    "an amount and its credit": (INVOICE.format(**INVOICES), INVOICE.format(**{**INVOICES, "amount": "-€1,250.00"})),
    "a clause and its negation": (CLAUSE.format(**CLAUSES), CLAUSE.format(**{**CLAUSES, "may": "may not"})),
    "a clause and its contrary": (CLAUSE.format(**CLAUSES), CLAUSE.format(**{**CLAUSES, "when": "without"})),
    "a duty and a right": (CLAUSE.format(**CLAUSES), CLAUSE.format(**{**CLAUSES, "may": "shall"})),
    "a rule and its exception": (
        "Guests of the house may bring their own pets.",
        "Guests of the house may bring their own pets only on request.",
    ),
    "a long rule and its exception": (
        POLICY.format(days=26, year=2022),
        POLICY.format(days=26, year=2022)[:-1] + " unless the department had to refuse it.",
    ),
    "an exception before it": (
        POLICY.format(days=26, year=2022),
        "It is not true that " + POLICY.format(days=26, year=2022),
    ),
    "parties changed about": ("Baird sold the boat to Marta.", "Marta sold the boat to Baird."),
    "employer and employee": (
        "The costs of the training are borne by the employer in full.",
        "The costs of the training are borne by the employee in full.",
    ),
    "versions": ("Fixed in version 14.2.1.0 of the driver.", "Fixed in version 14.2.0.1 of the driver."),
    "addresses": ("The gateway is 10.0.0.12 on this net.", "The gateway is 10.0.12.0 on this net."),
    "a decimal point": ("The bolt is 1.5 mm thick at the head.", "The bolt is 15 mm thick at the head."),
    "a sign": ("Kept at -5 °C in the cellar for a year.", "Kept at 5 °C in the cellar for a year."),
    "a comparison": ("Refused where the share is ≤ 5 of all.", "Refused where the share is ≥ 5 of all."),
    "a unit": ("The fee is 5% of the sum that is owed.", "The fee is 5 of the sum that is owed."),
    "a currency": ("The ticket for the ferry costs €5 today.", "The ticket for the ferry costs £5 today."),
    "an exponent": ("The field is 10 m² by the river.", "The field is 10 m2 by the river."),
    "languages of programming": ("We look for a C++ developer in Porto.", "We look for a C# developer in Porto."),
    "languages of programming, one bare": (
        "We look for a C developer in Porto.",
        "We look for a C# developer in Porto.",
    ),
    "code": ("if ready and connected and empty: send()", "if !ready and connected and empty: send()"),
    "operators": ("assert left == right, message", "assert left != right, message"),
    "Portuguese of two countries": (
        "O ônibus parte às dez horas da estação.",
        "O autocarro parte às dez horas da estação.",
    ),
    "English of two countries": (
        "The lift on the left goes to the first floor.",
        "The elevator on the left goes to the first floor.",
    ),
    "spellings": ("The colour of the centre is grey.", "The color of the center is gray."),
    "Norwegian of two kinds": ("Jeg kommer ikke fra en øy.", "Eg kjem ikkje frå ei øy."),
    "translations": ("Farbe: rot. Gewicht: 2 kg. Preis: 5 Euro.", "Colour: red. Weight: 2 kg. Price: 5 euros."),
    "a tone mark": ("เขาไปที่ใกล้บ้านเมื่อวานนี้", "เขาไปที่ไกลบ้านเมื่อวานนี้"),
    "vowel signs": ("यह किताब मेरी है।", "यह कीताब मेरी है।"),
    "a Chinese negation": ("承租人可以将房屋转租给第三方使用。", "承租人不可以将房屋转租给第三方使用。"),
    "a Chinese number": ("员工每年享有十五天带薪年假。", "员工每年享有二十五天带薪年假。"),
    "a Korean name": ("김민수 씨가 회의를 열었습니다.", "김민호 씨가 회의를 열었습니다."),
    "a word cut out of another": ("now", "knowledge"),
    "one word, and a text that holds it": ("Portugal", CARD.format(**CARDS)),
    "nothing but other signs": ("* * * * *", "= = = = ="),
}

ONE = {
    "the same": (LIGHTHOUSE, LIGHTHOUSE),
    "case": (LIGHTHOUSE, LIGHTHOUSE.upper()),
    "line breaks": (LIGHTHOUSE, LIGHTHOUSE.replace(". ", ".\n").replace("\n\n", " ")),
    "quotation marks and dashes": ("“So be it” — said the keeper.", '"So be it" - said the keeper'),
    "markdown": ("## Opening hours\n\n* **Monday**: 9-17\n", "Opening hours: Monday 9-17"),
    "a no-break space": ("Price: 20 euros", "Price: 20\u00a0euros"),
    "soft hyphens and joiners": ("The lighthouse keeper", "The light\u00adhouse keep\u200ber"),
    "ligatures": ("The office of the first officer", "The oﬃce of the ﬁrst oﬃcer"),
    "full width": ("Ref. AX4410, page 12", "Ｒｅｆ． ＡＸ４４１０， page １２"),
    "composed and decomposed": ("Café de l'été", "Cafe\u0301 de l'e\u0301te\u0301"),
    "kinds of dashes in a number": ("Season 2022-2024", "Season 2022–2024"),
    "Chinese with blanks": ("看守人每天晚上点亮灯。", "看守人 每天晚上 点亮灯"),
    "the article": ("The keeper lit the lamp each dusk.", "Keeper lit lamp each dusk."),
    "a part of it": (LIGHTHOUSE, LIGHTHOUSE[:400]),
    "a part from its middle": (LIGHTHOUSE, LIGHTHOUSE[38:400]),
    "a paragraph of it": (LIGHTHOUSE, LIGHTHOUSE.split("\n\n")[1]),
    "a sentence of it": (LIGHTHOUSE, "Its keeper, Ewan Baird, lit the lamp each dusk."),
    "a clause and a sentence more": (
        CLAUSE.format(**CLAUSES),
        CLAUSE.format(**CLAUSES) + " It survives the agreement.",
    ),
    "a Chinese sentence of several": ("承租人可以转租房屋。", "第一条。承租人可以转租房屋。第三条。"),
}


def shown(*texts, **selection):
    return select(falling(len(texts)), reasons_for(texts), Selection(**selection))


@pytest.mark.parametrize("kind", TWO)
def test_what_differs_for_a_reader_is_two(kind):
    first, second = TWO[kind]
    for texts in ((first, second), (second, first)):
        assert [piece.text for piece in shown(*texts)] == list(texts)


@pytest.mark.parametrize("kind", ONE)
def test_what_is_the_same_for_a_reader_is_one_that_names_the_other(kind):
    first, second = ONE[kind]
    for texts in ((first, second), (second, first)):
        [piece] = shown(*texts)
        assert piece.text == texts[0]
        assert [twin.text for twin in piece.repeats] == [texts[1]]


@pytest.mark.parametrize("kind", ONE)
def test_repeats_can_be_kept(kind):
    pieces = shown(*ONE[kind], repeats="keep")
    assert [piece.text for piece in pieces] == list(ONE[kind])
    assert not any(piece.repeats for piece in pieces)


def test_another_way_to_treat_repeats_is_refused():
    with pytest.raises(InputError, match="collapse, keep"):
        Selection(repeats="drop")  # type: ignore[arg-type]


def test_cards_of_one_kind_all_come_back():
    names = ["AX-4410-B", "AX-4411-B", "AX-4410-C", "BX-4410-B", "AX-4410", "AX-44"]
    memo = MemoRAG()
    memo.memorize([Document(CARD.format(**{**CARDS, "name": name}), name) for name in names], progress=False)
    for mode in ("memorag", "bm25", "hybrid"):
        assert len(memo.retrieve("Which pump is red?", 5, mode=mode)) == 5
        assert {piece.document_id for piece in memo.retrieve("Which pump is red?", 6, mode=mode)} == set(names)


def test_both_years_answer_a_comparison():
    memo = MemoRAG()
    memo.memorize(
        [Document(POLICY.format(days=days, year=year), str(year)) for days, year in ((26, 2022), (30, 2024))],
        progress=False,
    )
    found = memo.retrieve("Compare the days of leave of 2022 and 2024", 5)
    assert {piece.document_id for piece in found} == {"2022", "2024"}


@given(
    st.integers(0, 8),
    st.lists(st.sampled_from([LIGHTHOUSE, LIGHTHOUSE.upper(), BAKERY, RIVER, *distinct(6)]), min_size=1, max_size=14),
)
def test_k_pieces_come_back_whenever_the_corpus_has_k(k, texts):
    different = len({text.upper() for text in texts})
    assert len(shown(*texts, k=k + 1)) == min(k + 1, different)


WORDS = st.lists(
    st.sampled_from(["lamp", "keeper", "not", "5", "5.1", "The", "stone,", "river.", "May", "no"]),
    min_size=5,
    max_size=40,
)


@given(WORDS, st.data())
def test_one_word_more_less_or_other_makes_two(words, data):
    at = data.draw(st.integers(0, len(words) - 1))
    other = [*words[:at], data.draw(st.sampled_from(["harbour", "7", "never", "Baird"])), *words[at + 1 :]]
    first, second = " ".join(words), " ".join(other)
    found = Shown()
    found.add(Wording(first))
    assert found.repeated_by(Wording(second)) is None
    assert found.repeated_by(Wording(first)) == 0


@given(WORDS, st.lists(st.sampled_from([" ", "\n", "  ", "\t", " \u00a0", ", ", " — "]), min_size=40, max_size=40))
def test_blanks_case_and_punctuation_make_no_other_text(words, blanks):
    first = " ".join(words)
    second = "".join(word + blank for word, blank in zip(words, blanks, strict=False)).upper()
    assert Wording(first).tokens == Wording(second).tokens


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_can_be_compared(first, second):
    one, other = Wording(first), Wording(second)
    assert one.tokens
    found = Shown()
    found.add(one)
    assert found.repeated_by(one) == 0
    assert isinstance(other.inside(one), bool)


def test_looking_for_repeats_looks_at_few_pairs(monkeypatch):
    """A corpus of passages that differ costs no comparison of pairs, however many are shown."""
    compared = []
    monkeypatch.setattr(Wording, "inside", lambda self, other: compared.append(1) or False)
    generator = np.random.default_rng(0)
    texts = [
        " ".join("".join(generator.choice(list(string.ascii_lowercase), 6)) for _ in range(40)) for _ in range(300)
    ]
    assert len(shown(*texts, k=None)) == 300
    assert not compared


def test_a_sign_beyond_the_basic_plane_between_digits_is_compared():
    assert tokens("0\U0002ebe10") == tokens("0\U0002ebe10") != tokens("0\U0002ebe20")
