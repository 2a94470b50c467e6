"""An independent subscriber: holds every message to the published schemas.

listener.py PORT SCHEMAS [FILTER SESSION]: prints `ready`, then each message as `mosquitto_sub -v` does, `TOPIC PAYLOAD`;
one that is not as its schema says as `invalid TOPIC: REASON`. CBOR is printed as JSON, and of a picture what it says of
itself. FILTER stands in place of `tvsl/test/#`. With SESSION the broker keeps what comes while it is away; it connects again
for ever, and says `ready` again only where the broker had forgotten it.
"""

import json
import pathlib
import struct
import sys
import zlib

import cbor2
import jsonschema
import paho.mqtt.client as mqtt

def validators(folder):
    schemas = {path.stem: json.loads(path.read_text()) for path in pathlib.Path(folder).glob("*.json")}
    del schemas["asyncapi"]
    for schema in schemas.values():
        jsonschema.Draft7Validator.check_schema(schema)
    return {name: jsonschema.Draft7Validator(closed(schema)) for name, schema in schemas.items()}


def closed(schema):
    """The same schema, which takes no field that it does not name."""
    if isinstance(schema, dict):
        closed_fields = {key: closed(value) for key, value in schema.items()}
        if schema.get("type") == "object" and "properties" in schema:
            closed_fields.setdefault("additionalProperties", False)
        return closed_fields
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    return schema


def picture(png):
    """What a PNG says of itself and of its pixels, read by the standard alone."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        (length,), kind = struct.unpack(">I", png[at:at + 4]), png[at + 4:at + 8]
        body = png[at + 8:at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    channels = {0: 1, 2: 3}[colour]
    assert depth == 8 and len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + width * channels)
    keyword, text = chunks[b"tEXt"].split(b"\0")
    return {"width": width, "height": height, "channels": channels, "bytes": len(png), keyword.decode(): text.decode()}


def main(port, folder, topics="tvsl/test/#", session=""):
    known = validators(folder)

    def told(_client, _data, message):
        topic = message.topic.split("/", 2)[2]
        if topic in ("snapshot", "heatmap"):
            print(message.topic, json.dumps(picture(message.payload)), flush=True)
            return
        # In CBOR a map with known entries begins with 0xa0 and up, or 0xb8; text never does.
        cbor = message.payload[:1] >= b"\xa0"
        text = json.dumps(cbor2.loads(message.payload)) if cbor else message.payload.decode()
        levels = topic.split("/")
        if levels[0] == "set" and len(levels) == 2:
            return  # somebody's wish
        try:
            if text:  # nothing: a retained message is taken back
                payload = text if topic == "status" else json.loads(text)
                robots = levels[0] == "detections" and "header" in payload
                known["ros2" if robots else "result" if levels[0] == "set" else levels[0]].validate(payload)
            print(message.topic, text, flush=True)
        except Exception as error:  # whatever it is, the test shows it
            print(f"invalid {topic}: {str(error).splitlines()[0]}", flush=True)

    def connected(client, _data, flags, *_):
        if not (flags["session present"] if isinstance(flags, dict) else flags.session_present):
            client.subscribe(topics, qos=1)

    version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
    client = mqtt.Client(*version, client_id=session, clean_session=not session)
    client.on_message = told
    client.on_connect = connected
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.reconnect_delay_set(1, 2)
    client.connect("127.0.0.1", int(port), keepalive=10 if session else 60)
    client.loop_forever()


main(*sys.argv[1:])
