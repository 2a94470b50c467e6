"""Runs the example of a robot in docs/mqtt.md as it stands there, between a head and a broker that are none.

turn.py PAGE: fails where the robot does not turn as it should.
"""

import contextlib
import io
import json
import pathlib
import re
import sys
import types

(program,) = re.findall(r"^```python\n(.*?)^```$", pathlib.Path(sys.argv[1]).read_text(), re.DOTALL | re.MULTILINE)
turns, client = [], None


class Client:
    """Takes the place of paho's client."""

    def __init__(self, client_id, clean_session):
        global client
        assert client_id and not clean_session, "a session that the broker keeps"
        client, self.subscribed = self, []

    def subscribe(self, topic, qos):
        self.subscribed.append((topic, qos))

    def connect(self, host):
        self.on_connect(self, None, {}, 0)

    def loop_forever(self):
        pass


NOW = 1769085300.0  # Unix seconds, on the robot's clock
sys.modules["time"] = types.SimpleNamespace(time=lambda: NOW)
paho, mqtt, module = (types.ModuleType(name) for name in ("paho", "paho.mqtt", "paho.mqtt.client"))
paho.mqtt, mqtt.client, module.Client = mqtt, module, Client
sys.modules.update({"paho": paho, "paho.mqtt": mqtt, "paho.mqtt.client": module})
exec(program, {"turn_head": lambda right: turns.append(right)})
assert client.subscribed == [("tvsl/hall/events", 1)], client.subscribed


def told(sequence, azimuth=None, event="start", run="a", late=False, missed=0, age=0.2):
    """What the robot does and says when it is told an event."""
    turns.clear()
    source = {"last": NOW - age} | ({} if azimuth is None else {"bearing": {"azimuth_deg": azimuth}})
    body = {"run": run, "sequence": sequence, "missed": missed, "late": late, "event": event, "source": source}
    words = io.StringIO()
    with contextlib.redirect_stdout(words):
        client.on_message(client, None, types.SimpleNamespace(payload=json.dumps(body).encode()))
    return list(turns), words.getvalue()


assert told(7, 10.0) == ([10.0], ""), "it turns to what it hears first, and misses nothing before it"
assert told(8, 12.0, "update") == ([12.0], ""), "it follows"
assert told(8, 12.0, "update") == ([], ""), "what comes again is known"
assert told(7, 10.0) == ([], ""), "and so is what came before"
assert told(9, -5.0, late=True) == ([], ""), "it does not turn to the past"
assert told(10, -5.0, age=3600.0) == ([], ""), "nor to what a broker had kept for it"
assert told(11, -5.0, age=2.1) == ([], ""), "nor to what a stall kept"
assert told(12, -5.0, age=-3600.0) == ([], ""), "nor by a clock that says nothing"
assert told(13, 12.0, "end") == ([], ""), "nor to what is over"
assert told(14) == ([], ""), "nor without a bearing"
assert told(18, 3.0, missed=3) == ([3.0], ""), "what the device had to drop is no loss of the broker's"
assert told(21, 4.0) == ([4.0], "the broker lost 2 events\n"), "a jump is told"
assert told(32, 5.0, missed=42) == ([5.0], ""), "what the device counts too many is no loss"
assert told(1, 8.0, run="b") == ([8.0], ""), "a new run counts from 1"
assert told(32, 5.0) == ([], ""), "the earlier run stays known"
