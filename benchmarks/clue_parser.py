"""No well-formed list of clues may lose an item: 12+ scripts by every style of list, as a table.

python benchmarks/clue_parser.py            # prints the table; ends with 1 where an item was lost or invented
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence

from memorag_integrations.replies.clue_parsing import parse_list

SCRIPTS: dict[str, tuple[str, list[str]]] = {
    "Latin": ("0123456789", ["Who opened it?", "The chair's plan: budget, 1.5 million", "a", "Straße – naïve café"]),
    "Cyrillic": ("0123456789", ["Кто его открыл?", "Бюджет на 2019 год утверждён", "Да", "«Мир» и война"]),
    "Greek": ("0123456789", ["Ποιος το άνοιξε;", "Η επιτροπή αποφάσισε 3 πράγματα", "Ναι", "τέλος, αρχή"]),
    "Han": ("0123456789", ["谁打开了它？", "委员会在三月批准了预算，共计15万元", "龙", "第三章讲的是战争"]),
    "Japanese": ("0123456789", ["誰が開けましたか？", "予算は3月に承認された。", "猫", "リモコンの色について話した"]),
    "Hangul": ("0123456789", ["누가 열었습니까?", "예산은 3월에 승인되었다", "집", "회의에서 색을 정했다"]),
    "Arabic": ("٠١٢٣٤٥٦٧٨٩", ["من فتحه؟", "وافقت اللجنة على الميزانية، في آذار", "بيت", "قال: «نعم»"]),
    "Hebrew": ("0123456789", ["מי פתח את זה?", "הוועדה אישרה את התקציב ב-2019", "בית", "צה״ל ודו״ח"]),
    "Devanagari": ("०१२३४५६७८९", ["इसे किसने खोला?", "समिति ने बजट को मंज़ूरी दी।", "घर", "हिन्दी में लिखा"]),
    "Bengali": ("০১২৩৪৫৬৭৮৯", ["কে এটি খুলেছে?", "কমিটি বাজেট অনুমোদন করেছে।", "ঘর", "বাংলায় লেখা"]),
    "Tamil": ("௦௧௨௩௪௫௬௭௮௯", ["அதை திறந்தது யார்?", "குழு பட்ஜெட்டை அங்கீகரித்தது", "வீடு", "தமிழில் எழுதியது"]),
    "Thai": ("๐๑๒๓๔๕๖๗๘๙", ["ใครเปิดมัน", "คณะกรรมการอนุมัติงบประมาณ 15 ล้านบาท", "บ้าน", "เขียนเป็นภาษาไทย"]),
    "Georgian": ("0123456789", ["ვინ გახსნა?", "კომიტეტმა დაამტკიცა ბიუჯეტი", "კი", "დასასრული, დასაწყისი"]),
    "Telugu": ("౦౧౨౩౪౫౬౭౮౯", ["దాన్ని ఎవరు తెరిచారు?", "కమిటీ బడ్జెట్‌ను ఆమోదించింది", "ఇల్లు", "తెలుగులో రాశారు"]),
}
LETTERS = {
    "Latin": "abcd", "Cyrillic": "абвг", "Greek": "αβγδ", "Han": "甲乙丙丁", "Japanese": "アイウエ",
    "Hangul": "가나다라", "Arabic": "أبتث", "Hebrew": "אבגד",
    "Devanagari": "कखगघ", "Bengali": "কখগঘ", "Tamil": "அஆஇஈ", "Thai": "กขคง",
    "Georgian": "აბგდ", "Telugu": "కఖగఘ",
}  # fmt: skip

Style = Callable[[str, Sequence[str]], str]


def lines(marker: Callable[[str, int], str], between: str = "\n") -> Style:
    return lambda script, items: between.join(marker(script, i) + item for i, item in enumerate(items))


def native(script: str, number: int) -> str:
    return "".join(SCRIPTS[script][0][int(digit)] for digit in str(number))


def around(before: str, style: Style, after: str = "") -> Style:
    return lambda script, items: before + style(script, items) + after


def each(wrap: str) -> Style:
    return lambda script, items: "\n".join(f"{i}. {wrap.format(item)}" for i, item in enumerate(items, 1))


NUMBERED = lines(lambda s, i: f"{i + 1}. ")
BULLETED = lines(lambda s, i: "- ")
JSON: Style = lambda s, items: json.dumps(list(items), ensure_ascii=False)  # noqa: E731
STYLES: dict[str, Style] = {
    "bare lines": lines(lambda s, i: ""),
    "bare, blank lines": lines(lambda s, i: "", "\n\n"),
    "- bullet": BULLETED,
    "* bullet": lines(lambda s, i: "* "),
    "• bullet": lines(lambda s, i: "•"),
    "。 bullet": lines(lambda s, i: "。"),
    "・ bullet": lines(lambda s, i: "・"),
    "1. ": NUMBERED,
    "1.no blank": lines(lambda s, i: f"{i + 1}."),
    "1) ": lines(lambda s, i: f"{i + 1}) "),
    "(1) ": lines(lambda s, i: f"({i + 1}) "),
    "（1）": lines(lambda s, i: f"（{i + 1}）"),
    "[1] ": lines(lambda s, i: f"[{i + 1}] "),
    "1、": lines(lambda s, i: f"{i + 1}、"),
    "1 - ": lines(lambda s, i: f"{i + 1} - "),
    "1: ": lines(lambda s, i: f"{i + 1}: "),
    "１．": lines(lambda s, i: f"{'１２３４'[i]}．"),
    "①": lines(lambda s, i: "①②③④"[i]),
    "❶ ": lines(lambda s, i: "❶❷❸❹"[i] + " "),
    "1️⃣ ": lines(lambda s, i: f"{i + 1}\ufe0f\u20e3 "),
    "一、": lines(lambda s, i: "一二三四"[i] + "、"),
    "（一）": lines(lambda s, i: f"（{'一二三四'[i]}）"),
    "native digits.": lines(lambda s, i: f"{native(s, i + 1)}. "),
    "native digits)": lines(lambda s, i: f"{native(s, i + 1)}) "),
    "native digit।": lines(lambda s, i: f"{native(s, i + 1)}। "),
    "native letter. ": lines(lambda s, i: f"{LETTERS[s][i]}. "),
    "native letter) ": lines(lambda s, i: f"{LETTERS[s][i]}) "),
    "i. ": lines(lambda s, i: ("i", "ii", "iii", "iv")[i] + ". "),
    "numbers, blank lines": lines(lambda s, i: f"{i + 1}. ", "\n\n"),
    "bold": each("**{}**"),
    '"quoted"': each('"{}"'),
    "“quoted”": each("“{}”"),
    "「quoted」": each("「{}」"),
    "`code`": each("`{}`"),
    "quoted, comma": lambda s, items: "\n".join(f'"{item}",' for item in items),
    "Clue 1: ": lines(lambda s, i: f"Clue {i + 1}: "),
    "Q1: ": lines(lambda s, i: f"Q{i + 1}: "),
    "线索1：": lines(lambda s, i: f"线索{i + 1}："),
    "- 1. ": lines(lambda s, i: f"- {i + 1}. "),
    "- [ ] ": lines(lambda s, i: "- [ ] "),
    "preamble": around("Here are the clues:\n\n", NUMBERED),
    "zh preamble": around("以下是线索：\n", BULLETED),
    "remark": around("Sure! Here you go:\n", BULLETED, "\n\nLet me know if you need more."),
    "heading": around("## Clues\n\n", BULLETED),
    "first unnumbered": lambda s, items: NUMBERED(s, items)[3:],
    "indented": lines(lambda s, i: f"   {i + 1}. "),
    "CRLF": lines(lambda s, i: f"{i + 1}. ", "\r\n"),
    "repeats": lambda s, items: NUMBERED(s, [*items, *items]),
    "thoughts": around("<think>\n1. not this\n</think>\n", NUMBERED),
    "thoughts, closed only": around("well, let me see\n</think>\n", NUMBERED),
    "fenced": around("```\n", NUMBERED, "\n```"),
    "JSON": JSON,
    "JSON, fenced": around("Here:\n```json\n", JSON, "\n```\nAnything else?"),
    "JSON, indented": lambda s, items: json.dumps(list(items), ensure_ascii=False, indent=2),
    "JSON, escaped": lambda s, items: json.dumps(list(items)),
    "JSON {clues}": lambda s, items: json.dumps({"clues": list(items)}, ensure_ascii=False),
    "JSON [{clue}]": lambda s, items: json.dumps([{"clue": i, "why": "it fits"} for i in items], ensure_ascii=False),
    "JSON lines": lambda s, items: "\n".join(json.dumps({"clue": item}, ensure_ascii=False) for item in items),
    "JSON, comma left": lambda s, items: JSON(s, items)[:-1] + ",]",
    "JSON, unclosed": lambda s, items: JSON(s, items)[:-1],
    "Python list": lambda s, items: str(list(items)),
}  # fmt: skip


def table() -> list[tuple[str, list[str]]]:
    """For each style, the scripts in which the parsed list differs from the list written."""
    rows = []
    for name, style in STYLES.items():
        wrong = [script for script, (_, items) in SCRIPTS.items() if parse_list(style(script, items)) != items]
        rows.append((name, wrong))
    return rows


def main() -> int:
    rows = table()
    print(f"{'style':24}" + " ".join(f"{script[:5]:5}" for script in SCRIPTS))
    for name, wrong in rows:
        print(f"{name:24}" + " ".join(f"{'LOST' if script in wrong else 'ok':5}" for script in SCRIPTS))
    lost = sum(len(wrong) for _, wrong in rows)
    print(f"{len(rows)} styles x {len(SCRIPTS)} scripts = {len(rows) * len(SCRIPTS)} lists; {lost} not read back whole")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
