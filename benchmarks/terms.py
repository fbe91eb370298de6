"""Terms per CPU second, over the passages of a set of documents, by language as detected.

    python benchmarks/terms.py --data SPLIT.jsonl.gz

Reads one JSON object a line (gzip) with the text of a document. Each repetition is a process of its own, so that the first
pass (nothing kept from before) and the passes after it can be told apart. Run it in two checkouts, in turn, to compare.
"""

import gzip
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

CHARACTERS = 1000
"""Of a passage."""


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--repeat", default=5, show_default=True, help="Processes.")
@click.option("--once", is_flag=True, hidden=True)
def main(data: Path, repeat: int, once: bool) -> None:
    """Print medians over --repeat processes."""
    if once:
        print(json.dumps(measure(data)))
        return
    command = [sys.executable, __file__, "--data", str(data), "--once"]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(repeat)]
    first, later = (statistics.median(run[name] for run in runs) for name in ("first", "later"))
    characters, terms = runs[0]["characters"], runs[0]["terms"]
    print(
        f"{data.name}: {characters:,} characters, {terms:,} terms; first pass {first:.3f} s CPU "
        f"({characters / first / 1e6:.2f} M characters/s), later passes {later:.3f} s ({characters / later / 1e6:.2f} M/s)"
    )


def measure(data: Path) -> dict[str, float]:
    from memorag_integrations.text.terms import detect_language, terms

    with gzip.open(data, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    passages = [
        (text[start : start + CHARACTERS], language)
        for text, language in ((text, detect_language(text)) for text in texts)
        for start in range(0, len(text), CHARACTERS)
    ]
    terms("one text, so that imports are not measured", "en")
    seconds, count = [], 0
    for _ in range(2):
        begun = time.process_time()
        count = sum(len(terms(passage, language)) for passage, language in passages)
        seconds.append(time.process_time() - begun)
    return {"characters": sum(map(len, texts)), "terms": count, "first": seconds[0], "later": seconds[1]}


if __name__ == "__main__":
    main()
