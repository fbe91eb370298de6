"""What we say to language models: templates, one file a language, each replaceable."""

from __future__ import annotations

from . import en, zh
from .templates import Prompts as Prompts
from .templates import check_template as check_template
from .templates import fence as fence


def prompts_for(language: str) -> Prompts:
    """Our templates for an ISO 639-1 code: Chinese for "zh", English for all others."""
    return zh.PROMPTS if language == "zh" else en.PROMPTS
