"""The AsyncAPI document held to the rules of AsyncAPI 3.0 and its binding 0.2.0 for MQTT, as far as it uses them, by independent
software; and everything it points at is there.

asyncapi.py SCHEMAS: fails at the first that is not so.
"""

import json
import pathlib
import re
import sys

import jsonschema

TEXT = {"type": "string"}


def record(needed=(), **fields):
    """An object of these fields and no other."""
    return {"type": "object", "properties": fields, "required": list(needed), "additionalProperties": False}


def named(what):
    """An object of any names, each of a kind."""
    return {"type": "object", "patternProperties": {r"^[\w.-]+$": what}, "additionalProperties": False}


POINTER = record(["$ref"], **{"$ref": TEXT})
PARAMETER = record(description=TEXT, default=TEXT, location=TEXT, enum={"type": "array", "items": TEXT})
MESSAGE = record(name=TEXT, title=TEXT, summary=TEXT, description=TEXT, contentType=TEXT, payload={"type": "object"})
CHANNEL = record(address=TEXT, description=TEXT, parameters=named(PARAMETER), messages=named(MESSAGE))
MQTT = record(qos={"enum": [0, 1, 2]}, retain={"type": "boolean"}, bindingVersion={"const": "0.2.0"})
OPERATION = record(
    ["action", "channel"],
    action={"enum": ["send", "receive"]},
    channel=POINTER,
    summary=TEXT,
    description=TEXT,
    bindings=record(mqtt=MQTT),
)
DOCUMENT = record(
    ["asyncapi", "info"],
    asyncapi={"const": "3.0.0"},
    info=record(["title", "version"], title=TEXT, version=TEXT, description=TEXT),
    channels=named(CHANNEL),
    operations=named(OPERATION),
)


def pointers(node):
    """Every `$ref` below a node."""
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from pointers(child)


def follow(folder, document, pointer):
    """What a pointer stands for; fails if that is not there."""
    file, _, path = pointer.partition("#")
    target = json.loads((folder / file).read_text()) if file else document
    for name in filter(None, path.split("/")):
        target = target[name]
    return target


folder = pathlib.Path(sys.argv[1])
document = json.loads((folder / "asyncapi.json").read_text())
rules = jsonschema.Draft7Validator(DOCUMENT)
rules.validate(document)
for place, key in (("channels", "qos"), ("operations", "topic")):
    first = next(iter(document[place]))
    assert not rules.is_valid(document | {place: document[place] | {first: document[place][first] | {key: 1}}}), "the rules hold"
told = {pointer: follow(folder, document, pointer) for pointer in pointers(document)}
for name, channel in document["channels"].items():
    assert f"#/channels/{name}" in told, f"nobody tells or hears {name}"
    assert set(re.findall(r"\{(\w+)\}", channel["address"])) == set(channel["parameters"]), f"the parameters of {name}"
kinds = [(message["contentType"], message["payload"]["$ref"]) for message in document["channels"]["detections"]["messages"].values()]
wanted = [("application/json", "./detections.json"), ("application/cbor", "./detections.json"), ("application/json", "./ros2.json")]
assert sorted(kinds) == sorted(wanted), f"each `[mqtt] format` is told: {kinds}"
