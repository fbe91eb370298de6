"""What a beacon memory is told: our own wording. A text is read once, and every task is a fresh message after it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class BeaconPrompts:
    """The messages, with `{text}` in the first and `{question}` in the tasks; other braces mean nothing.

    Args:
        reading: Around the text, as the user's first message.
        acknowledgement: The assistant's fixed reply to it.
        spans: Asks for passages that matter to a question, one a line.
        questions: Asks for sharper questions, one a line.
        answer: Asks for the answer.
        key_points: Asks for the text's key points, one a line; no question in it.
    """

    reading: str
    acknowledgement: str
    spans: str
    questions: str
    answer: str
    key_points: str

    def read(self, text: str) -> str:
        """The reading message with the text in it."""
        return self.reading.replace("{text}", text)

    def ask(self, task: str, question: str) -> str:
        """A task's message with the question in it; `task` is "spans", "questions", "answer" or "key_points"."""
        template: str = getattr(self, task)
        return template.replace("{question}", question)

    @property
    def memory_hash(self) -> str:
        """Of what a memory depends on: how the text was presented. Tasks may change without forming it anew."""
        return hashlib.sha256(json.dumps([self.reading, self.acknowledgement]).encode()).hexdigest()

    def to_json(self) -> dict[str, str]:
        return asdict(self)


ENGLISH = BeaconPrompts(
    reading=(
        "Below is a long text. Read all of it with care and keep in mind what happens, who and what is involved, and "
        "where each thing is said. You will be asked about it afterwards.\n\n"
        "--- start of the text ---\n{text}\n--- end of the text ---\n\n"
        "That was the whole text. Wait for the tasks that follow."
    ),
    acknowledgement="I have read the whole text and am ready for your questions about it.",
    spans=(
        "Someone asks about the text you have read:\n{question}\n\n"
        "Which passages would one have to look up to answer this? Recall them and write down short excerpts, as close "
        "to the text's own words as you can: names, places, numbers and turns of phrase by which they can be found. "
        "One excerpt a line, the most telling first. Write nothing else."
    ),
    questions=(
        "Someone asks about the text you have read:\n{question}\n\n"
        "Break this down into questions that are easier to look up: each about one particular fact, person or event of "
        "the text, called by its name. One question a line. Write nothing else."
    ),
    answer=(
        "Someone asks about the text you have read:\n{question}\n\n"
        "Answer from what you remember of the text, briefly and to the point. Write only the answer."
    ),
    key_points=(
        "Sum up the text you have read as a list of its key points, in the order of the text: the main events, claims "
        "and results, each in one short sentence on a line of its own. Write nothing else."
    ),
)
CHINESE = BeaconPrompts(
    reading=(
        "下面是一篇很长的文本。请通读全文，记住其中发生了什么、涉及哪些人和事物，以及各处内容的大致位置。读完以后会有人就它提问。\n\n"
        "——正文开始——\n{text}\n——正文结束——\n\n以上就是全文，请等待接下来的任务。"
    ),
    acknowledgement="全文我已读完，可以开始提问了。",
    spans=(
        "有人就你读过的文本提出一个问题：\n{question}\n\n"
        "要回答它，需要查阅文中的哪些段落？请回忆并写出简短的摘录，尽量使用原文的字句，保留便于查找的人名、地名、数字和措辞。"
        "每行一条，最关键的放在最前面。不要写其他内容。"
    ),
    questions=(
        "有人就你读过的文本提出一个问题：\n{question}\n\n"
        "请把它拆成更容易查找的小问题，每个只涉及文中一个具体的事实、人物或事件，并直呼其名。每行一个问题。不要写其他内容。"
    ),
    answer="有人就你读过的文本提出一个问题：\n{question}\n\n请凭你对文本的记忆简明扼要地作答，只写答案。",
    key_points="请按原文顺序列出你读过的文本的要点：主要事件、观点和结论，每行一个短句。不要写其他内容。",
)
LANGUAGES = {"en": ENGLISH, "zh": CHINESE}
