import re
import unicodedata

import pytest

from memorag_integrations.text.languages import by_script
from memorag_integrations.text.scripts import LANGUAGES_WITHOUT_BLANKS, SCRIPTS, WITHOUT_BLANKS
from memorag_integrations.text.terms import terms

LETTERS = {
    "Kana": "ひカ", "Hangul": "서울", "Han": "灯塔", "Thai": "เรือ", "Hebrew": "אור", "Greek": "φως", "Tamil": "விளக்கு",
    "Telugu": "దీపం", "Georgian": "შუქი", "Armenian": "լույս", "Khmer": "ភ្លើង", "Lao": "ໄຟ", "Burmese": "မီး", "Tibetan": "སྒྲོན",
    "Bopomofo": "ㄉㄥ", "Tai": "ᥖᥭᥰ",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_known_by_its_letters(script):
    text = LETTERS[script.name]
    assert len(script.pattern.findall(text)) == len(text)
    assert by_script(text) == script.language
    assert bool(re.fullmatch(f"[{WITHOUT_BLANKS}]+", text)) == (not script.blanks)
    assert not script.pattern.search("the lamp, 12 Лампа")


@pytest.mark.parametrize("script", [script for script in SCRIPTS if not script.blanks], ids=lambda script: script.name)
def test_a_script_without_blanks_is_searched_by_pairs_of_characters(script):
    pair = unicodedata.normalize("NFKC", LETTERS[script.name])[:2]
    assert pair in terms("xyz " + LETTERS[script.name] * 2, "und")


def test_languages_written_without_blanks():
    assert {"zh", "ja", "th", "km", "lo", "my"} == LANGUAGES_WITHOUT_BLANKS
