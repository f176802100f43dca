#!/usr/bin/env python3
"""Compiles a catalogue of translations (.po) into the form that LuCI looks texts up in (.lmo).

  openwrt/pack/lmo.py INPUT.po OUTPUT.lmo

The file holds the translations, each filled up to four bytes; an index of four words each (hash of the original, its
number of forms, place and length of the translation), sorted by hash; and where the index begins. All words are
big-endian. Texts without a translation are left out: LuCI shows the original.
"""

import re
import struct
import sys
from pathlib import Path

# LuCI joins context, original and plural form with these.
CONTEXT, FORM = b"\x01", b"\x02"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, output = map(Path, sys.argv[1:])
    try:
        data = compile(parse(source.read_text()))
    except ValueError as error:
        sys.exit(f"{source}: {error}")
    output.write_bytes(data)


def parse(text):
    """The messages of a catalogue, each as {keyword: text}."""
    messages, message, keyword = [], {}, None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = re.fullmatch(r'(?:(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) +)?(".*")', line)
        if not found or not (found[1] or keyword):
            raise ValueError(f"line {number}: neither a keyword nor a text in quotes")
        if found[1]:
            keyword = found[1]
            if keyword in message or (keyword == "msgctxt" and message):
                message = {}
            if not message:
                messages.append(message)
            message[keyword] = ""
        message[keyword] += unquote(found[2], number)
    return messages


def unquote(quoted, number):
    """LuCI's own compiler leaves all other escapes as they stand, and so its lookups expect them."""
    if re.search(r'(?<!\\)(?:\\\\)*"', quoted[1:-1]):
        raise ValueError(f"line {number}: a quote inside a text needs a backslash")
    return re.sub(r'\\(["\\])', r"\1", quoted[1:-1])


def compile(messages):
    texts, entries = bytearray(), []

    def add(key, forms, translation):
        entries.append((key, forms, len(texts), len(translation)))
        texts.extend(translation + bytes(-len(translation) % 4))

    for message in messages:
        original = message.get("msgid", "").encode()
        forms = {int(name[7]) if name != "msgstr" else None: text.encode()
                 for name, text in message.items() if name.startswith("msgstr") and text}
        if not original:
            plural = re.search(r"Plural-Forms: (.*?)\\n", message.get("msgstr", ""))
            if plural:
                add(0, 0, plural[1].encode())
            continue
        key = original
        if "msgctxt" in message:
            key = message["msgctxt"].encode() + CONTEXT + key
        for form, translation in forms.items():
            whole = key if form is None else key + FORM + str(form).encode()
            # As LuCI does: what translates to itself need not be looked up.
            if hash(whole) != hash(translation):
                add(hash(whole), max(form or 0 for form in forms) + 1, translation)
    index = b"".join(struct.pack(">4I", *entry) for entry in sorted(entries))
    return bytes(texts) + index + struct.pack(">I", len(texts))


def hash(data):
    """Paul Hsieh's SuperFastHash, with the length as its start."""
    mask = 0xFFFFFFFF
    value = len(data)
    whole = len(data) & ~3
    for place in range(0, whole, 4):
        low, high = struct.unpack_from("<HH", data, place)
        value = value + low & mask
        value = (value << 16 ^ high << 11 ^ value) & mask
        value = value + (value >> 11) & mask
    rest = data[whole:]
    if len(rest) == 3:
        value = value + int.from_bytes(rest[:2], "little") & mask
        value = (value ^ value << 16 ^ signed(rest[2]) << 18) & mask
        value = value + (value >> 11) & mask
    elif len(rest) == 2:
        value = value + int.from_bytes(rest, "little") & mask
        value = (value ^ value << 11) & mask
        value = value + (value >> 17) & mask
    elif len(rest) == 1:
        value = value + signed(rest[0]) & mask
        value = (value ^ value << 10) & mask
        value = value + (value >> 1) & mask
    value = (value ^ value << 3) & mask
    value = value + (value >> 5) & mask
    value = (value ^ value << 4) & mask
    value = value + (value >> 17) & mask
    value = (value ^ value << 25) & mask
    return value + (value >> 6) & mask


def signed(byte):
    return byte - 256 if byte > 127 else byte


if __name__ == "__main__":
    main()
