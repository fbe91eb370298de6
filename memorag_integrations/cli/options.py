"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

store_option = click.option(
    "--store", required=True, metavar="DIR", type=click.Path(path_type=Path), help="The folder of the store."
)
model_option = click.option(
    "--model", metavar="NAME", help="Folder or hub name of a Hugging Face language model.  [default: the memory's own]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
