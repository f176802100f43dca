"""The texts of the app's pages and their translations.

    python3 tests/luci/catalogue.py     brings po/templates/gramscale.pot up to date with the pages
"""

import json
import re
from pathlib import Path

APP = Path(__file__).parent.parent.parent / "openwrt/luci-app-gramscale"
TEMPLATE = APP / "po/templates/gramscale.pot"

_CALL = re.compile(r"\b_\(\s*'((?:[^'\\\n]|\\.)*)'\s*\)")
_OPEN = re.compile(r"\b_\((?!\s*')")


def used():
    """Every text that pages, menu and access list show, with the places where."""
    texts = {}
    for file in sorted(APP.glob("htdocs/**/*.js")):
        source = file.read_text()
        assert not _OPEN.search(source), f"{file}: a text that is no literal can't be translated"
        assert len(_CALL.findall(source)) == len(re.findall(r"\b_\(", source)), f"{file}: a call of _ that can't be read"
        for match in _CALL.finditer(source):
            text = match.group(1).replace("\\'", "'").replace('\\"', '"').replace("\\\\", "\\")
            line = source.count("\n", 0, match.start()) + 1
            texts.setdefault(text, []).append(f"{file.relative_to(APP)}:{line}")
    for file in sorted(APP.glob("root/usr/share/luci/menu.d/*.json")):
        for entry in json.loads(file.read_text()).values():
            texts.setdefault(entry["title"], []).append(f"{file.relative_to(APP)}")
    for file in sorted(APP.glob("root/usr/share/rpcd/acl.d/*.json")):
        for entry in json.loads(file.read_text()).values():
            texts.setdefault(entry["description"], []).append(f"{file.relative_to(APP)}")
    return texts


def read(file):
    """The messages of a catalogue: {text: translation}, without the head."""
    messages, key, value, into = {}, None, "", None

    def close():
        if key:
            messages[key] = value

    for line in file.read_text().splitlines():
        if line.startswith("msgid "):
            close()
            key, value, into = json.loads(line[6:]), "", "key"
        elif line.startswith("msgstr "):
            value, into = json.loads(line[7:]), "value"
        elif line.startswith('"') and into == "key":
            key += json.loads(line)
        elif line.startswith('"'):
            value += json.loads(line)
    close()
    return messages


def template():
    parts = ['msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n']
    for text, places in sorted(used().items(), key=lambda item: item[1][0]):
        parts.append("".join(f"#: {place}\n" for place in places) + f'msgid {json.dumps(text, ensure_ascii=False)}\nmsgstr ""\n')
    return "\n".join(parts)


def problems():
    """What is wrong with the catalogues; empty when all is well."""
    wrong = []
    if not TEMPLATE.exists() or TEMPLATE.read_text() != template():
        wrong.append(f"{TEMPLATE.name} is not that of the pages: run python3 tests/luci/catalogue.py")
    texts = used()
    for file in sorted(APP.glob("po/*/gramscale.po")):
        messages = read(file)
        name = file.parent.name
        wrong += [f"{name}: not translated: {text}" for text in texts if not messages.get(text)]
        wrong += [f"{name}: no page has: {text}" for text in messages if text not in texts]
        # The places of values must be the same, in the same order.
        marks = re.compile(r"%[sd]")
        wrong += [
            f"{name}: other values than the original: {text}" for text, translation in messages.items()
            if translation and marks.findall(text) != marks.findall(translation)
        ]
    return wrong


if __name__ == "__main__":
    TEMPLATE.parent.mkdir(parents=True, exist_ok=True)
    TEMPLATE.write_text(template())
    print(*problems(), sep="\n")
