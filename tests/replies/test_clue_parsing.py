"""Clue parsing: the table of scripts and styles, replies as models write them, properties, and time."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.clue_parser import SCRIPTS, STYLES
from memorag_integrations.replies.clue_parsing import LONGEST_REPLY, MOST, parse_list, parse_reply, parse_text
from memorag_integrations.replies.single_clue import MOST_LAYERS, clean, is_refusal
from memorag_integrations.replies.wrapping import strip_thoughts


@pytest.mark.parametrize("style", STYLES)
def test_no_list_in_any_script_loses_an_item(style: str) -> None:
    for script, (_, items) in SCRIPTS.items():
        assert parse_list(STYLES[style](script, items)) == items, script


def test_the_form_asked_for() -> None:
    reply = parse_reply('{"spans": ["a b", "c"], "questions": ["Who?", "Why?"], "answer": "Ann did."}')
    assert (reply.spans, reply.questions, reply.answer) == (("a b", "c"), ("Who?", "Why?"), "Ann did.")
    assert reply.asked_form
    assert not reply.warnings


@pytest.mark.parametrize(
    "text",
    [
        'Here it is:\n```json\n{"spans": ["a b", "c"], "questions": ["Who?"], "answer": "Ann."}\n```\nHope it helps!',
        '<think>{"spans": ["no"]}</think>{"spans": ["a b", "c"], "questions": ["Who?"], "answer": "Ann."}',
        "{'spans': ['a b', 'c',], 'questions': ['Who?'], 'answer': 'Ann.'}",
        '{"spans": [{"text": "a b", "why": "x"}, {"text": "c"}], "new_questions": ["Who?"], "draft_answer": "Ann."}',
        '{"线索": ["a b", "c"], "问题": ["Who?"], "答案": "Ann."}',
        "Spans:\n1. a b\n2. c\n\nQuestions:\n1. Who?\n\nAnswer: Ann.",
        "**Spans**\n- a b\n- c\n\n**Questions**\n- Who?\n\n**Draft answer**\nAnn.",
        "## Clues\na b\nc\n## Questions\nWho?\n## Answer\nAnn.",
        "线索：\n1、a b\n2、c\n问题：\n1、Who?\n答案：Ann.",
        "1. a b\n2. c\n3. Who?\nAnswer: Ann.",
    ],
)
def test_the_same_reply_in_other_forms(text: str) -> None:
    reply = parse_reply(text)
    assert (reply.spans, reply.questions, reply.answer) == (("a b", "c"), ("Who?",), "Ann.")


def test_half_a_json_keeps_what_is_there_and_says_so() -> None:
    reply = parse_reply('{"spans": ["first", "second"], "questions": ["Who op')
    assert reply.spans == ("first", "second")
    assert reply.questions == ("Who op",)
    assert "broke off" in reply.warnings[0]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('["He said \\"no\\", then left", "b"]', ['He said "no", then left', "b"]),
        ('["He said "no" to it", "b"]', ['He said "no" to it', "b"]),
        ('["don\'t", "it\'s"]', ["don't", "it's"]),
        ('["\\u8c01", "\\ud83d\\ude00 smile", "C:\\path"]', ["谁", "😀 smile", "C:\\path"]),
        ('- The config is {"debug": true}\n- second', ['The config is {"debug": true}', "second"]),
        (
            "- `__getattr__` is called\n- **Bold** start\n- __init__",
            ["`__getattr__` is called", "Bold start", "__init__"],
        ),
        ("1. one\n   goes on\n2. two\n\n   and on\n\nThat is all.", ["one goes on", "two and on"]),
        ("1. 第一行\n   第二行\n2. b", ["第一行第二行", "b"]),
        ("1.5 million people came\n-5 degrees at night\n1984. A novel", None),
        ("A. Smith opened the meeting\nThe budget was cut", None),
        ("(1) one (2) two (3) three", ["one", "two", "three"]),
        ("①一月②二月③三月", ["一月", "二月", "三月"]),
        ('"A" and "B"', ['"A" and "B"']),
        ("I. Newton wrote it\nIt was new", None),
        ("Sure, I'll do it, said Ann.\nBob agreed.", None),
        ("---\n- a\n---\n- b\n***", ["a", "b"]),
        ("<clues>\n<clue>a</clue>\n<clue>b</clue>\n</clues>", ["a", "b"]),
        ("- None", []),
        ("...\n\n- \n* \n", []),
        ('{"spans": [], "questions": [], "answer": ""}', []),
        ("[]", []),
        ("", []),
        ("<think>never done\n1. a", []),
    ],
)
def test_replies_as_models_write_them(text: str, items: list[str] | None) -> None:
    assert parse_list(text) == (text.splitlines() if items is None else items)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot find any clues in the text.\nPlease provide more.",
        "抱歉，我无法回答这个问题。",
        "文中没有提到这一点。",
        "申し訳ありませんが、お答えできません。",
        "Lo siento, no puedo ayudar.",
        "The text does not mention this.",
        "None.",
        "无",
    ],
)
def test_refusals_are_no_clues(text: str) -> None:
    assert is_refusal(text)
    assert parse_list(text) == []
    assert parse_reply(f"Answer: {text}").answer is None


def test_a_quoted_apology_is_a_clue() -> None:
    assert parse_list("1. I'm sorry, I was late\n2. No problem") == ["I'm sorry, I was late", "No problem"]


@pytest.mark.parametrize(
    "mark", ["<think>{}</think>", "<Thinking>{}</Thinking>", "◁think▷{}◁/think▷", "[THINK]{}[/THINK]"]
)
def test_thoughts_of_every_kind(mark: str) -> None:
    assert strip_thoughts(mark.format("\n1. x\n") + "rest") == ("rest", False)
    assert "thoughts" in parse_reply(mark.format("\n1. x\n").rsplit("/", 1)[0][:-1]).warnings[0]


def test_bounds() -> None:
    reply = parse_reply("\n".join(f"{i}. clue {i}" for i in range(1, 10_001)), most=12)
    assert len(reply.spans) == 12
    assert "9988" in reply.warnings[0]
    reply = parse_reply(json.dumps({"spans": ["x" * 100_000, "short"]}), longest=500)
    assert [len(span) for span in reply.spans] == [500, 5]
    assert "500" in reply.warnings[0]


@pytest.mark.parametrize(
    "unit",
    [
        "- a\n",
        "1. a\n",
        '["',
        "[[",
        '{"a": ',
        "<think>",
        "```\n",
        "\\",
        '"',
        "' ,",
        "(1) a ",
        "a b\n\n",
        "**",
        "Q:\n",
        " \t",
        "【",
    ],
)
def test_what_would_take_minutes_in_quadratic_time_ends(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    for reply in (parse_reply(text), parse_reply('{"spans": ["' + text)):
        assert sum(map(len, (*reply.spans, *reply.questions))) <= 400_000


@pytest.mark.parametrize(
    "reply",
    [
        lambda n: "~" * n + "`",
        lambda n: "`" * n + "a`",
        lambda n: '{"spans": ["a"' + " " * n + 'z"]}',
        lambda n: '{"spans": ["a"' + "\n" * n + "z",
        lambda n: '["a"' + ", " * (n // 2) + "z",
        lambda n: '{"' + "k" * (n // 2) + '": [' + '"a",' * (n // 8),
        lambda n: "**a**" + " " * n + "z",
        lambda n: "<a>" + "\t" * n + "z",
        lambda n: "plain\n" + "\n".join(f"# {i}" for i in range(n // 8)),
        lambda n: "plain\n" + "\n".join(f"<t{i}>" for i in range(n // 8)),
        lambda n: "1. a\n" + "b\n" * (n // 2) + "2. c",
        lambda n: "<a>" * (n // 7) + "x" + "</a>" * (n // 7),
        lambda n: "<a>" * n,
        lambda n: "\"'" * (n // 4) + "a" + "'\"" * (n // 4),
        lambda n: "«“" * (n // 4) + "a" + "”»" * (n // 4),
        lambda n: "[" * n + '"a"' + "]" * n,
        lambda n: '{"a":' * (n // 6) + '"x"' + "}" * (n // 6),
        lambda n: "\n".join(f"{'abcdefghij'[i % 10]}. x" for i in range(n // 5)),
        lambda n: "1. " * (n // 3),
        lambda n: "a: " + " " * n + "[",
        lambda n: "span" + "_*" * (n // 2) + "z",
        lambda n: "ignore " + "w " * (n // 2),
    ],
)
def test_hostile_replies_end(reply: Callable[[int], str]) -> None:
    """Each took time quadratic in its length at one time or might: here that would be minutes."""
    text = reply(LONGEST_REPLY)
    parsed = parse_reply(text)
    assert sum(map(len, (*parsed.spans, *parsed.questions))) <= len(text)
    assert len(parse_list(text)) <= MOST
    assert len(parse_text(text)) <= LONGEST_REPLY


def test_layers_that_wrap_a_clue_are_taken_off_up_to_a_bound() -> None:
    assert parse_list("- " + '"“«deep»”"') == ["deep"]
    assert parse_list("- " + "<a>" * 5 + "deep" + "</a>" * 5) == ["deep"]
    nested = "<a>" * 1000 + "deep" + "</a>" * 1000
    assert clean(nested).count("<a>") == 1000 - MOST_LAYERS


def test_a_reply_beyond_the_bound_is_read_up_to_there() -> None:
    reply = parse_reply("- first\n" + "- next\n" * 40_000 + "- last")
    assert reply.spans == ("first", "next")
    assert str(LONGEST_REPLY) in reply.warnings[0]
    assert parse_reply("<think>" + "so be it\n" * 40_000 + "</think>\n- a clue").spans == ("a clue",)


def test_a_key_counts_by_its_beginning() -> None:
    key = "questions " + "k" * 1000
    assert parse_reply(json.dumps({key: ["one", "two"]})).questions == ("one", "two")


def test_lone_surrogates_and_nul() -> None:
    assert parse_list("1. a\ud800b\n2. \x00c") == ["a\ufffdb", "\ufffdc"]
    assert parse_list('["\\ud800", "ok"]') == ["ok"]


@given(st.text(max_size=400))
@settings(max_examples=300)
def test_anything_at_all_is_read(text: str) -> None:
    reply = parse_reply(text, most=5, longest=50)
    for clue in (*reply.spans, *reply.questions):
        assert 0 < len(clue) <= 50
        assert any(char.isalnum() for char in clue)
    assert len(reply.spans) <= 5


WORDS = st.text(st.characters(categories=["L"]), min_size=1, max_size=30).map(lambda word: "x" + word)
CLUES = st.lists(WORDS, min_size=1, max_size=9, unique_by=lambda word: unicodedata.normalize("NFKC", word).casefold())


@given(CLUES, st.sampled_from(["- {1}", "{0}. {1}", "({0}) {1}", "* {1}", '{0}) "{1}"', "**{0}.** {1}", "{0}、{1}"]))
@settings(max_examples=300)
def test_words_of_any_script_survive_any_marker(items: list[str], style: str) -> None:
    assert parse_list("\n".join(style.format(i, item) for i, item in enumerate(items, 1))) == items


@given(CLUES, st.booleans(), st.sampled_from([None, 2]))
@settings(max_examples=300)
def test_words_of_any_script_survive_json(items: list[str], escape: bool, indent: int | None) -> None:
    assert parse_list(json.dumps(items, ensure_ascii=escape, indent=indent)) == items


@given(CLUES, st.data())
@settings(max_examples=300)
def test_json_cut_anywhere_keeps_what_was_complete(items: list[str], data: st.DataObject) -> None:
    text = json.dumps(items, ensure_ascii=False)
    cut = data.draw(st.integers(2, len(text)))
    parsed = parse_list(text[:cut])
    complete = text[:cut].count('"') // 2
    assert parsed[:complete] == items[:complete]
    assert len(parsed) <= complete + 1
