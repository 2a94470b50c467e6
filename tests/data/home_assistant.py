"""Home Assistant in small: takes discovery messages by its published rules, and renders what entities then show.

home_assistant.py PORT: prints `ready`; `entity COMPONENT ID` for each that is discovered and `gone COMPONENT ID` for
each that is removed; `state COMPONENT ID VALUE` when one shows something else; `invalid TOPIC: REASON`.
The rules: https://www.home-assistant.io/integrations/mqtt and the pages of the four components there.
"""

import json
import re
import sys

import jinja2
import jsonschema
import paho.mqtt.client as mqtt

TOPIC = re.compile(r"homeassistant/(?P<component>\w+)/(?:(?P<node>[a-zA-Z0-9_-]+)/)?(?P<id>[a-zA-Z0-9_-]+)/config")
TEXT = {"type": "string", "minLength": 1}
DEVICE = {
    "type": "object",
    "properties": {
        "identifiers": {"type": "array", "items": TEXT, "minItems": 1},
        **{key: TEXT for key in ("name", "manufacturer", "model", "sw_version", "hw_version", "suggested_area")},
    },
    "required": ["identifiers"],
    "additionalProperties": False,
}
ORIGIN = {
    "type": "object",
    "properties": {"name": TEXT, "sw_version": TEXT, "support_url": TEXT},
    "required": ["name"],
    "additionalProperties": False,
}
COMMON = {
    "device": DEVICE,
    "origin": ORIGIN,
    "qos": {"enum": [0, 1, 2]},
    "entity_category": {"const": "diagnostic"},
    **{key: TEXT for key in ("name", "unique_id", "icon", "availability_topic", "availability_template")},
    **{key: TEXT for key in ("json_attributes_topic", "state_topic", "value_template")},
}
OWN = {
    "binary_sensor": {"payload_on": TEXT, "payload_off": TEXT, "device_class": {"enum": ["sound", "problem"]}},
    "event": {"event_types": {"type": "array", "items": TEXT, "minItems": 1}},
    "sensor": {"unit_of_measurement": TEXT, "state_class": {"enum": ["measurement", "total", "total_increasing"]}},
    "switch": {
        **{key: TEXT for key in ("command_topic", "payload_on", "payload_off", "state_on", "state_off")},
        "retain": {"type": "boolean"},
        "entity_category": {"enum": ["config", "diagnostic"]},
    },
}
NEEDED = {"binary_sensor": ["state_topic"], "event": ["state_topic", "event_types"], "sensor": ["state_topic"]}
SCHEMAS = {
    component: {
        "type": "object",
        "properties": {**COMMON, **own},
        # A device belongs to entities with an identity of their own.
        "required": ["device", "unique_id", "name", *NEEDED.get(component, ["command_topic"])],
        "additionalProperties": False,
    }
    for component, own in OWN.items()
}

jinja = jinja2.Environment(undefined=jinja2.StrictUndefined)
jinja.filters["to_json"] = json.dumps
entities, shown = {}, {}


def say(*words):
    print(*words, flush=True)


def discovered(client, topic, payload):
    component, name = (lambda found: (found["component"], found["id"]))(TOPIC.fullmatch(topic))
    if not payload:
        if entities.pop(topic, None):
            say("gone", component, name)
        return
    entity = json.loads(payload)
    jsonschema.Draft7Validator(SCHEMAS[component]).validate(entity)
    others = [other["unique_id"] for known, (_, _, other) in entities.items() if known != topic]
    assert entity["unique_id"] not in others, "the unique_id is taken"
    entities[topic] = (component, name, entity)
    say("entity", component, name)
    for key in ("state_topic", "availability_topic"):
        client.subscribe(entity[key], qos=1)


def shows(component, entity, text):
    values = {"value": text}
    if text.startswith("{"):
        values["value_json"] = json.loads(text)
    value = jinja.from_string(entity["value_template"]).render(values)
    if component == "event":
        if not value:
            return None
        value = json.loads(value)["event_type"]
        assert value in entity["event_types"], f"{value} is no type of this event"
    elif component == "sensor":
        float(value)
    else:
        on, off = entity.get("payload_on", "ON"), entity.get("payload_off", "OFF")
        assert value in (on, off), f"{value!r} is neither {on} nor {off}"
    return value


def told(client, _data, message):
    topic, text = message.topic, message.payload.decode()
    try:
        if topic.startswith("homeassistant/") and topic.endswith("/config"):
            discovered(client, topic, text)
            return
        for component, name, entity in list(entities.values()):
            if topic == entity["availability_topic"]:
                available = jinja.from_string(entity["availability_template"]).render(value=text)
                assert available in ("online", "offline"), available
            if topic == entity["state_topic"] and text:
                value = shows(component, entity, text)
                if value is not None and shown.get((component, name)) != value:
                    shown[component, name] = value
                    say("state", component, name, value)
    except Exception as error:  # whatever it is, the test shows it
        say(f"invalid {topic}: {error!r:.500}")


client = mqtt.Client(*([mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []))
client.on_message = told
client.on_subscribe = lambda *_: say("ready") if not entities else None
client.connect("127.0.0.1", int(sys.argv[1]))
client.subscribe("homeassistant/#", qos=1)
client.loop_forever()
