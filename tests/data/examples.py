"""JSON held to the published schemas, by independent software.

examples.py page PAGE SCHEMAS: holds each example of a page, a block that begins with "json" and the name of a schema, to that
schema, and prints the names in order; fails at the first that is not as its schema says.
examples.py judge SCHEMA: prints `yes` or `no` for each line of standard input.
"""

import json
import pathlib
import re
import sys

import jsonschema

from listener import validators


def page(text, folder):
    known, named = validators(folder), []
    for name, block in re.findall(r"^```json (\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        known[name].validate(json.loads(block))
        named.append(name)
    print(*sorted(named), sep="\n")


def judge(schema, lines):
    validator = jsonschema.Draft7Validator(schema)
    for line in lines:
        print("yes" if validator.is_valid(json.loads(line)) else "no")


if sys.argv[1] == "page":
    page(pathlib.Path(sys.argv[2]).read_text(), sys.argv[3])
else:
    judge(json.loads(pathlib.Path(sys.argv[2]).read_text()), sys.stdin)
