"""Whether a question asks for all that a text says on a subject, or for one thing in it.

"Summarize the discussion about the remote" and "What did Marta think of it?" are answered by a stretch of a text; "When
does the lease end?" by a sentence. The words of asking tell the two apart: what asks for an account, a discussion or an
opinion is broad.
"""

from __future__ import annotations

import re
import unicodedata

_ASKING = {
    "de": """
        ansicht ansichten argumentiert berichte beschreibe beschreiben besprach besprachen besprochen dachte dachten denkt
        diskussion diskussionen diskutiert diskutierte diskutierten einschätzung erkläre erklären erläutere erläutern
        erörtert erwähnt erwähnte gesagt gesprochen haltung meinte meinten meinung meinungen sagte sagten skizziere
        standpunkt überblick zusammenfassen zusammenfassung
    """,
    "en": """
        argue argued attitude attitudes describe discuss discussed discusses discussing discussion discussions explain
        mention mentioned opinion opinions outline overview propose proposed said say summaries summarise summarize
        summarized summary talk talked talking tell think thought view views
    """,
    "es": """
        comenta comentó debate debatieron describa describe dice dijeron dijo discusión discutieron discutió explica
        explique mencionó opina opinaron opinión opiniones opinó piensa pensaba pensó postura resuma resume resumen
    """,
    "fr": """
        avis débat décris décrivez dire discussion discussions discuté dit évoqué explique expliquez mentionné opinion
        opinions parlé pensait pense pensé résume résumé résumez
    """,
    "it": """
        commentato descrivi detto dibattito discussione discussioni discusso menzionato opinione opinioni parlato pensa
        pensava pensato riassumi riassunto spiega
    """,
    "nl": """
        besproken beschrijf bespreking denkt dacht discussie discussies gezegd mening meningen noemde samenvatting
        standpunt vat vond zei zeggen
    """,
    "pt": """
        comentou debate descreva descreve discussão discutiram discutiu disse disseram explica explique mencionou opinião
        opiniões pensa pensava pensou resuma resume resumo
    """,
}
_BROAD = frozenset(word for words in _ASKING.values() for word in words.split())

# Scripts without blanks, and endings that change: the word is looked for anywhere ("总结一下会议的讨论").
_BROAD_PARTS = (
    "总结", "總結", "概括", "概述", "讨论", "討論", "看法", "观点", "觀點", "意见", "意見", "评价", "評價", "认为", "認為",
    "要約", "議論", "話し合", "説明して", "まとめて", "どう考え", "どう思",
    "요약", "논의", "토론", "의견", "생각했", "설명해",
    "обсужд", "мнени", "считает", "думает", "подведи итог", "кратко изложи", "опиши",
)  # fmt: skip

_WORDS = re.compile(r"[^\W\d_]+")


def asks_broadly(question: str) -> bool:
    """Whether the question asks for an account, a discussion or an opinion: for a stretch of text, not for one place."""
    folded = unicodedata.normalize("NFC", question).casefold()
    return not _BROAD.isdisjoint(_WORDS.findall(folded)) or any(part in folded for part in _BROAD_PARTS)
