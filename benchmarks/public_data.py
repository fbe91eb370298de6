"""Turn published data sets into the one form that the benchmarks read: texts, questions, and where their evidence stands.

    git clone --depth 1 https://github.com/Yale-LILY/QMSum
    python benchmarks/public_data.py qmsum QMSum/data/ALL/val --out qmsum-val.jsonl.gz

docs/measuring.md names every source, its licence and its command. Nothing is downloaded here.

One JSON object a line (gzip): `id`, `text`, `queries` [{`qid`, `query`, `answer`, `gold`: [[start, end], …]}], where the
ranges count characters of `text`. A question whose evidence cannot be placed in the text is left out; the last line
printed says how many were.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

Range = tuple[int, int]


@dataclass
class Text:
    """A text and the questions about it, filled by the converters.

    Args:
        left_out: Questions whose evidence has no place in the text.
    """

    id: str
    text: str
    queries: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0

    def ask(self, qid: str, query: str, answer: str, gold: Sequence[Range | None], **more: object) -> None:
        """Add a question. Ranges that are None have no place; where none is left the question is left out."""
        ranges = [list(place) for place in dict.fromkeys(gold) if place is not None]
        if ranges:
            self.queries.append({"qid": qid, "query": query, "answer": answer, "gold": ranges, **more})
        else:
            self.left_out += 1


def qmsum(folder: Path) -> Iterator[Text]:
    """QMSum (Zhong et al., NAACL 2021): one JSON file for each meeting; the gold ranges are annotated spans of turns.

    A turn becomes the line "speaker: content". A range starts after the speaker's name of its first turn.
    """
    for file in sorted(folder.glob("*.json")):
        meeting = json.loads(file.read_text("utf-8"))
        text, turns = "", []
        for turn in meeting["meeting_transcripts"]:
            text += f"{turn['speaker']}: "
            turns.append((len(text), len(text) + len(turn["content"])))
            text += f"{turn['content']}\n"
        found = Text(file.stem, text)
        for number, query in enumerate(meeting["specific_query_list"]):
            spans = [(int(first), int(last)) for first, last in query["relevant_text_span"]]
            gold = [(turns[a][0], turns[b][1]) if 0 <= a <= b < len(turns) else None for a, b in spans]
            found.ask(f"{file.stem}-s{number}", query["query"], query["answer"], gold)
        yield found


def leval(folder: Path) -> Iterator[Text]:
    """L-Eval (An et al., 2023): the tasks whose answers are quoted from a text; kept are those of ten characters or
    more that stand in it once.

    The files are JSON lines {"input": text, "instructions": [question, …], "outputs": [answer, …]}.
    """
    for task in ("legal_contract_qa", "multidoc_qa", "natural_question", "scientific_qa"):
        for line in (folder / f"{task}.jsonl").read_text("utf-8").splitlines():
            item = json.loads(line)
            text = item["input"]
            found = Text(f"{task}-{hashlib.sha1(text.encode()).hexdigest()[:8]}", text)
            for number, (query, answer) in enumerate(zip(item["instructions"], item["outputs"], strict=True)):
                quoted = answer.strip().rstrip(".")
                once = len(quoted) >= 10 and text.count(quoted) == 1
                found.ask(f"{found.id}-{number}", query, answer, [place_of(quoted, text) if once else None])
            yield found


def chunking(folder: Path) -> Iterator[Text]:
    """chunking_evaluation (Smith and Troynikov, 2024): corpora/NAME.md, and questions_df.csv with quoted references."""
    texts = {file.stem: Text(file.stem, file.read_text("utf-8")) for file in sorted((folder / "corpora").glob("*.md"))}
    with (folder / "questions_df.csv").open(encoding="utf-8", newline="") as rows:
        for number, row in enumerate(csv.DictReader(rows)):
            found = texts[row["corpus_id"]]
            gold = []
            for reference in json.loads(row["references"]):
                start, end = reference["start_index"], reference["end_index"]
                same = found.text[start:end] == reference["content"]
                gold.append((start, end) if same else place_of(reference["content"], found.text))
            found.ask(f"{found.id}-{number}", row["question"], "", gold)
    yield from texts.values()


def squad(file: Path) -> Iterator[Text]:
    """COVID-QA (Möller et al., 2020), and anything else in SQuAD's layout: exact answers with their first character."""
    for number, article in enumerate(json.loads(file.read_text("utf-8"))["data"]):
        for paragraph in article["paragraphs"]:
            text = paragraph["context"]
            found = Text(f"{file.stem}-{number}-{paragraph.get('document_id', 0)}", text)
            for question in paragraph["qas"]:
                answers = [(int(answer["answer_start"]), answer["text"]) for answer in question["answers"]]
                gold = [
                    (start, start + len(answer)) if text[start : start + len(answer)] == answer != "" else None
                    for start, answer in answers
                ]
                answer = answers[0][1] if answers else ""
                found.ask(str(question["id"]), question["question"], answer, gold)
            yield found


def cmrc(file: Path, articles: int = 24) -> Iterator[Text]:
    """CMRC 2018 with rationales (ExpMRC, Cui et al., 2022): Chinese articles, so many joined to one text.

    The gold ranges are the rationales, which annotators copied from the article.
    """
    every = [paragraph for item in json.loads(file.read_text("utf-8"))["data"] for paragraph in item["paragraphs"]]
    for number, first in enumerate(range(0, len(every), articles)):
        found = Text(f"cmrc-{number}", "".join(f"{p['context']}\n\n" for p in every[first : first + articles]))
        offset = 0
        for paragraph in every[first : first + articles]:
            for at, question in enumerate(paragraph["qas"]):
                places = [place_of(evidence, paragraph["context"]) for evidence in question["evidences"]]
                gold = sorted({(offset + start, offset + end) for start, end in filter(None, places)})
                found.ask(f"{paragraph['id']}-{at}", question["question"], "", gold)
            offset += len(paragraph["context"]) + 2
        yield found


def fairytale(folder: Path, split: str = "val") -> Iterator[Text]:
    """FairytaleQA (Xu et al., ACL 2022): the gold ranges are sections; `implicit`: the answer is not stated in words."""
    for file in sorted((folder / "data-by-train-split" / "questions" / split).glob("*-questions.csv")):
        name = file.name.removesuffix("-questions.csv")
        text, sections = "", {}
        for row in _rows(folder / "data-by-train-split" / "section-stories" / split / f"{name}-story.csv"):
            sections[row["section"].strip()] = (len(text), len(text) + len(row["text"]))
            text += f"{row['text']}\n\n"
        found = Text(name, text)
        for row in _rows(file):
            numbers = [number.strip() for number in row["cor_section"].split(",")]
            gold = joined([sections[number] for number in numbers if number in sections])
            implicit = row["ex-or-im1"].strip() == "implicit"
            found.ask(f"{name}-{row['question_id']}", row["question"], row["answer1"], gold, implicit=implicit)
        yield found


def joined(ranges: Sequence[Range]) -> list[Range]:
    """Ranges in the order of the text, each once."""
    return sorted(set(ranges))


def place_of(quoted: str, text: str) -> Range | None:
    """Where a quotation first stands in a text; None where it does not."""
    start = text.find(quoted) if quoted else -1
    return None if start < 0 else (start, start + len(quoted))


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as rows:
        return list(csv.DictReader(rows))


CONVERTERS: dict[str, Callable[[Path], Iterator[Text]]] = {
    "qmsum": qmsum,
    "leval": leval,
    "chunking": chunking,
    "squad": squad,
    "cmrc": cmrc,
    "fairytale": fairytale,
}


@click.command()
@click.argument("kind", type=click.Choice(sorted(CONVERTERS)))
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="FILE.jsonl.gz")
@click.option("--all-texts", is_flag=True, help="Write texts without a question, too.")
def main(kind: str, source: Path, out: Path, all_texts: bool) -> None:
    """Convert SOURCE, a file or folder of a data set's own repository."""
    texts = list(CONVERTERS[kind](source))
    kept = [text for text in texts if text.queries or all_texts]
    if not kept:
        raise click.ClickException(f"No text with a question was found in {source}. docs/measuring.md names the path.")
    with gzip.open(out, "wt", encoding="utf-8") as lines:
        for text in kept:
            line = {"id": text.id, "text": text.text, "queries": text.queries}
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
    queries, left_out = sum(len(text.queries) for text in kept), sum(text.left_out for text in texts)
    print(f"{out}: {len(kept)} texts, {queries:,} questions; {left_out:,} left out, whose evidence has no place")


if __name__ == "__main__":
    main()
