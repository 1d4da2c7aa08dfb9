"""The catalogues: extracted from the source, checked against it, compiled.

`python -m flm.locales.catalogues --extract` brings the `.po` files up to date with the source
(new messages come empty, messages that are gone are dropped) and compiles them;
`--check` fails on a missing, fuzzy or unused message, on placeholders that differ from the
English, and on a `.mo` that is not what its `.po` says. Needs Babel, a development dependency.
"""

from __future__ import annotations

import argparse
import re
import string
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_file
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po

import flm
from flm.cli.clicktext import MODULES
from flm.language import DOMAIN, LANGUAGES, LOCALES

KEYWORDS = {"N_": None, "_": None, "ngettext": (1, 2), "plural": (1, 2)}
PACKAGE = Path(flm.__file__).parent
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_PERCENT = re.compile(r"%\(\w+\)[sd]")

Text = str | tuple[str, ...]


def sources() -> Iterator[tuple[str, Path]]:
    """Every file with messages, by the name the catalogue gives it: ours, and click's."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield f"flm/{path.relative_to(PACKAGE).as_posix()}", path
    for module in MODULES:
        assert module.__file__ is not None
        yield module.__name__.replace(".", "/") + ".py", Path(module.__file__)


def extract() -> Catalog:
    """All messages of the source, in the order of their files."""
    found = Catalog(domain=DOMAIN)
    for name, path in sources():
        for _, message, comments, _ in extract_from_file(
            "python", path, keywords=KEYWORDS, comment_tags=("translators:",)
        ):
            found.add(message, locations=[(name, 0)], auto_comments=comments)
    return found


def po_path(language: str) -> Path:
    """Where a language's messages are written."""
    return LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(language: str) -> Catalog:
    """The catalogue as it is written; empty when there is none yet."""
    path = po_path(language)
    if not path.exists():
        return Catalog(locale=language, domain=DOMAIN)
    with path.open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def _empty(language: str) -> Catalog:
    """A catalogue whose header does not change with the day or with Babel's version."""
    return Catalog(
        locale=language, domain=DOMAIN, project="FLM", version="-", fuzzy=False,
        header_comment=f"# FLM's messages: {language}.", creation_date=_EPOCH, revision_date=_EPOCH,
        last_translator="FLM", language_team=language,
    )  # fmt: skip


def updated(language: str, found: Catalog) -> Catalog:
    """The messages of the source with the translations that are there.

    English is its own translation. Nothing is guessed from messages that look alike.
    """
    old, new = read(language), _empty(language)
    for message in found:
        if not message.id:
            continue
        known = old.get(message.id)
        text = known.string if known is not None else ""
        new.add(
            message.id,
            message.id if language == "en" else text,
            locations=message.locations,
            auto_comments=message.auto_comments,
        )
    return new


def written(catalogue: Catalog) -> bytes:
    """The text of a `.po` file."""
    buffer = BytesIO()
    write_po(buffer, catalogue, width=100, include_lineno=False, ignore_obsolete=True)
    return re.sub(rb'^"Generated-By:.*\n', b"", buffer.getvalue(), flags=re.MULTILINE)


def compile_to(path: Path, catalogue: Catalog) -> None:
    """Write the `.mo` beside its `.po`."""
    with path.with_suffix(".mo").open("wb") as file:
        write_mo(file, catalogue)


def update_all() -> None:
    """Bring all catalogues up to date with the source and compile them."""
    found = extract()
    for language in LANGUAGES:
        path = po_path(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(updated(language, found)))
        compile_to(path, read(language))


def problems(language: str, found: Catalog) -> Iterator[str]:
    """What is wrong with a language's catalogue, a line each."""
    catalogue = read(language)
    wanted = {_key(message) for message in found if message.id}
    for message in catalogue:
        if message.id:
            if _key(message) not in wanted:
                yield f"{language}: unused: {_short(message)}"
            yield from _faults(language, message)
    present = {_key(message) for message in catalogue if message.id}
    for message in found:
        if message.id and _key(message) not in present:
            yield f"{language}: missing: {_short(message)}"
    if _compiled(language) != _translations(catalogue):
        yield f"{language}: {po_path(language).with_suffix('.mo').name} is not what its .po says"


def _faults(language: str, message: Message) -> Iterator[str]:
    texts = _texts(message.string)
    if not texts or not all(texts):
        yield f"{language}: not translated: {_short(message)}"
        return
    if message.fuzzy:
        yield f"{language}: fuzzy: {_short(message)}"
    forms = [_placeholders(text) for text in _texts(message.id)]
    allowed = set().union(*forms)
    for used in map(_placeholders, texts):
        # "one key" may leave the number out, so a plural's form may use fewer
        if used != allowed and not (len(forms) > 1 and used <= allowed):
            yield f"{language}: other placeholders than the English: {_short(message)}"


def _placeholders(text: str) -> set[str]:
    """Names in braces and `%(name)s`; a text that is no template for `str.format` has none."""
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:
        names = set()
    return names | set(_PERCENT.findall(text))


def _texts(text: str | Sequence[str] | None) -> tuple[str, ...]:
    if text is None:
        return ()
    return (text,) if isinstance(text, str) else tuple(text)


def _key(message: Message) -> tuple[str, ...]:
    return _texts(message.id)


def _short(message: Message) -> str:
    return repr(_key(message)[0][:70])


def _translations(catalogue: Catalog) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {
        _key(each): _texts(each.string)
        for each in catalogue
        if each.id and any(_texts(each.string))
    }


def _compiled(language: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    path = po_path(language).with_suffix(".mo")
    if not path.exists():
        return {}
    with path.open("rb") as file:
        return _translations(read_mo(file))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 when all is well, 1 with a line for each fault."""
    parser = argparse.ArgumentParser(prog="python -m flm.locales.catalogues", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--extract", action="store_true", help="bring the catalogues up to date")
    action.add_argument("--check", action="store_true", help="fail when they are not")
    wanted = parser.parse_args(arguments)
    if wanted.extract:
        update_all()
    found = extract()
    faults = [fault for language in LANGUAGES for fault in problems(language, found)]
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    return 1 if faults and wanted.check else 0


if __name__ == "__main__":
    sys.exit(main())
