"""click's own sentences, from FLM's catalogues.

click asks `gettext.gettext`, which looks at the environment alone and knows nothing of `--lang`.
Its modules hold that function as `_`, so they are given ours instead.
"""

from __future__ import annotations

from types import ModuleType

import click.core
import click.decorators
import click.exceptions
import click.formatting
import click.parser
import click.termui
import click.types

from flm.language import Words

MODULES: tuple[ModuleType, ...] = (
    click.core,
    click.decorators,
    click.exceptions,
    click.formatting,
    click.parser,
    click.termui,
    click.types,
)
"""The modules whose sentences FLM's users can meet; the catalogues hold them."""


def teach_click(words: Words) -> None:
    """Let click speak that language from now on."""
    for module in MODULES:
        for name, ours in (("_", words.gettext), ("ngettext", words.ngettext)):
            if hasattr(module, name):
                setattr(module, name, ours)
