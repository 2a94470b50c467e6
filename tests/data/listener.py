"""An independent subscriber: holds every message to the published schemas.

listener.py PORT SCHEMAS [FILTER SESSION BRIDGED]: prints `ready`, then each message as `mosquitto_sub -v` does, `TOPIC PAYLOAD`;
one that is not as its schema says, or has another QoS or retain flag than the AsyncAPI document, as `invalid TOPIC: REASON`.
CBOR is printed as JSON, and of a picture what it says of itself. FILTER stands in place of `tvsl/test/#`. It connects again for
ever and says `away` when it has read all that came over a connection that broke. With SESSION the broker keeps what comes
meanwhile, and it says `ready` again only where the broker had forgotten it. BRIDGED says that a site's bridge passes
`detections` and `state` on with QoS 0 (docs/fleet/site.conf).
"""

import json
import pathlib
import re
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


def deliveries(folder):
    """How each topic is delivered: a pattern, and MQTT's words."""
    api = json.loads((pathlib.Path(folder) / "asyncapi.json").read_text())
    for operation in api["operations"].values():
        if operation["action"] == "send":
            channel = api["channels"][operation["channel"]["$ref"].rsplit("/", 1)[1]]
            yield re.compile(re.sub(r"\{\w+\}", "[^/]+", channel["address"])), operation["bindings"]["mqtt"]


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


def main(port, folder, topics="tvsl/test/#", session="", bridged=""):
    known, promised = validators(folder), list(deliveries(folder))

    def delivered(topic, message):
        """Holds how a message came to what is promised of its topic."""
        ways = [way for pattern, way in promised if pattern.fullmatch(message.topic)]
        assert len(ways) == 1, f"{len(ways)} channels have this topic"
        qos = 0 if bridged and topic.split("/")[0] in ("detections", "state") else ways[0]["qos"]
        assert message.qos == qos, f"QoS {message.qos}, not {qos}"
        assert ways[0]["retain"] or not message.retain, "the broker keeps it"

    def told(_client, _data, message):
        topic = message.topic.split("/", 2)[2]
        levels = topic.split("/")
        if levels[0] == "set" and len(levels) == 2:
            return  # somebody's wish
        try:
            delivered(topic, message)
            print(message.topic, read(topic, levels, message.payload), flush=True)
        except Exception as error:  # whatever it is, the test shows it
            print(f"invalid {topic}: {str(error).splitlines()[0]}", flush=True)

    def read(topic, levels, payload):
        """A message as text, once it is held to its schema."""
        if topic in ("snapshot", "heatmap"):
            return json.dumps(picture(payload))
        # In CBOR a map with known entries begins with 0xa0 and up, or 0xb8; text never does.
        text = json.dumps(cbor2.loads(payload)) if payload[:1] >= b"\xa0" else payload.decode()
        if text:  # nothing: a retained message is taken back
            body = text if topic == "status" else json.loads(text)
            robots = levels[0] == "detections" and "header" in body
            known["ros2" if robots else "result" if levels[0] == "set" else levels[0]].validate(body)
        return text

    def connected(client, _data, flags, *_):
        if not (flags["session present"] if isinstance(flags, dict) else flags.session_present):
            client.subscribe(topics, qos=1)

    version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
    client = mqtt.Client(*version, client_id=session, clean_session=not session)
    client.on_message = told
    client.on_connect = connected
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_disconnect = lambda *_: print("away", flush=True)
    client.reconnect_delay_set(1, 2)
    client.connect("127.0.0.1", int(port), keepalive=10 if session else 60)
    client.loop_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
