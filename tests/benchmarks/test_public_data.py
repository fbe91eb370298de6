"""Published data sets are converted, and every gold range is the evidence that the source names."""

import csv
import gzip
import json

import pytest
from click.testing import CliRunner

from benchmarks import public_data


def convert(kind, source, tmp_path, *more):
    out = tmp_path / "out.jsonl.gz"
    done = CliRunner().invoke(public_data.main, [kind, str(source), "--out", str(out), *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with gzip.open(out, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines], done.output


def quoted(text):
    return [[text["text"][start:end] for start, end in query["gold"]] for query in text["queries"]]


def write(file, value):
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = isinstance(value, list) and file.suffix == ".jsonl"
    file.write_text("\n".join(map(json.dumps, value)) if lines else json.dumps(value), "utf-8")


def write_rows(file, *rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(rows)


def test_qmsum(tmp_path):
    turns = [("Ann", "Shall we start?"), ("Ben", "Yes. The lamp is late."), ("Ann", "Who paid?"), ("Cy", "Nobody.")]
    meeting = {
        "topic_list": [],
        "general_query_list": [{"query": "Summarize.", "answer": "A lamp."}],
        "specific_query_list": [
            {"query": "What about the lamp?", "answer": "Late.", "relevant_text_span": [["1", "2"], ["3", "3"]]},
            {"query": "Beyond the end?", "answer": "-", "relevant_text_span": [["2", "9"]]},
        ],
        "meeting_transcripts": [{"speaker": who, "content": what} for who, what in turns],
    }
    write(tmp_path / "val" / "M1.json", meeting)
    [text], printed = convert("qmsum", tmp_path / "val", tmp_path)
    assert text["text"] == "Ann: Shall we start?\nBen: Yes. The lamp is late.\nAnn: Who paid?\nCy: Nobody.\n"
    assert quoted(text) == [["Yes. The lamp is late.\nAnn: Who paid?", "Nobody."]]
    assert text["queries"][0] | {"gold": None} == {
        "qid": "M1-s0", "query": "What about the lamp?", "answer": "Late.", "gold": None,
    }  # fmt: skip
    assert "1 questions; 1 left out" in printed


def test_leval_keeps_answers_that_stand_in_the_text_once(tmp_path):
    item = {
        "input": "The term is ten years. Rent is due monthly. Rent is due monthly. Notice: ninety days.",
        "instructions": ["Term?", "Rent?", "Notice?", "Colour?", "Blank?"],
        "outputs": ["The term is ten years.", "Rent is due monthly.", " ninety days. ", "blue paint", ""],
    }
    for task in ("legal_contract_qa", "multidoc_qa", "natural_question", "scientific_qa"):
        write(tmp_path / "tasks" / f"{task}.jsonl", [item] if task == "legal_contract_qa" else [])
    [text], printed = convert("leval", tmp_path / "tasks", tmp_path)
    assert quoted(text) == [["The term is ten years"], ["ninety days"]]
    assert text["id"].startswith("legal_contract_qa-")
    assert [query["qid"].removeprefix(text["id"]) for query in text["queries"]] == ["-0", "-2"]
    assert "3 left out" in printed


def test_chunking_evaluation(tmp_path):
    corpus = "Alpha is first. Beta is second. Gamma is third."
    (tmp_path / "data" / "corpora").mkdir(parents=True)
    (tmp_path / "data" / "corpora" / "greek.md").write_text(corpus, "utf-8")
    right = [{"content": "Beta is second.", "start_index": 16, "end_index": 31}]
    moved = [{"content": "Gamma is third.", "start_index": 3, "end_index": 18}]
    write_rows(
        tmp_path / "data" / "questions_df.csv",
        ["question", "references", "corpus_id"],
        ["Second?", json.dumps(right), "greek"],
        ["Both?", json.dumps(right + moved), "greek"],
    )
    [text], _ = convert("chunking", tmp_path / "data", tmp_path)
    assert quoted(text) == [["Beta is second."], ["Beta is second.", "Gamma is third."]]


def test_covid_qa(tmp_path):
    context = "Title\n\nThe virus spreads by air. Masks help."
    questions = [
        {"question": "How?", "id": 7, "answers": [{"text": "by air", "answer_start": 25}], "is_impossible": False},
        {"question": "Wrong place?", "id": 8, "answers": [{"text": "by air", "answer_start": 3}]},
        {"question": "None?", "id": 9, "answers": []},
    ]
    article = {"paragraphs": [{"qas": questions, "context": context, "document_id": 630}]}
    write(tmp_path / "covid.json", {"data": [article]})
    [text], printed = convert("squad", tmp_path / "covid.json", tmp_path)
    assert quoted(text) == [["by air"]]
    assert (text["id"], text["queries"][0]["qid"], text["queries"][0]["answer"]) == ("covid-0-630", "7", "by air")
    assert "2 left out" in printed


def test_cmrc_joins_articles(tmp_path):
    def article(number, context, evidences):
        asked = {"question": "谁？", "id": f"D{number}_Q", "answers": [], "evidences": evidences}
        return {"title": "t", "paragraphs": [{"id": f"D{number}", "context": context, "qas": [asked]}]}

    data = [
        article(0, "甲在北京。乙在上海。", ["乙在上海。", "乙在上海", "乙在上海。"]),
        article(1, "丙在广州。", ["丙在广州。"] * 3),
    ]
    write(tmp_path / "cmrc.json", {"version": "v", "data": data})
    [text], _ = convert("cmrc", tmp_path / "cmrc.json", tmp_path)
    assert text["text"] == "甲在北京。乙在上海。\n\n丙在广州。\n\n"
    assert quoted(text) == [["乙在上海", "乙在上海。"], ["丙在广州。"]]


def test_fairytale_qa(tmp_path):
    home = tmp_path / "repo" / "data-by-train-split"
    write_rows(
        home / "section-stories" / "val" / "sheep-story.csv",
        ["section", "text"],
        [1, "A ram."],
        [2, "It ran."],
        [3, "End."],
    )
    head = [
        "question_id",
        "local-or-sum",
        "cor_section",
        "attribute1",
        "attribute2",
        "question",
        "ex-or-im1",
        "answer1",
        "answer2",
    ]
    write_rows(
        home / "questions" / "val" / "sheep-questions.csv",
        head,
        [1, "local", "2", "action", "", "What did it do?", "explicit", "ran", ""],
        [2, "summary", "3,1", "feeling", "", "How?", "implicit", "sad", ""],
        [3, "local", "9", "feeling", "", "Where?", "explicit", "-", ""],
    )
    [text], printed = convert("fairytale", tmp_path / "repo", tmp_path)
    assert text["text"] == "A ram.\n\nIt ran.\n\nEnd.\n\n"
    assert quoted(text) == [["It ran."], ["A ram.", "End."]]
    assert [query["implicit"] for query in text["queries"]] == [False, True]
    assert "1 left out" in printed


@pytest.mark.parametrize("kind", ["qmsum", "fairytale"])
def test_a_folder_without_questions_is_refused(tmp_path, kind):
    done = CliRunner().invoke(public_data.main, [kind, str(tmp_path), "--out", str(tmp_path / "o.gz")])
    assert done.exit_code == 1
    assert "No text with a question" in done.output
