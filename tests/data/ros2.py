"""ROS 2 without ROS: the published `ros2` schema held to the message definitions of Humble, the bridge's configuration to our
topics, and detections.py run as it stands, between a bridge and a robot that are none.

ros2.py DOCS: reads a message of `detections` in the format `ros2` from standard input; fails where something does not fit.
"""

import json
import pathlib
import sys
import types

import yaml

# As `ros2 interface show vision_msgs/msg/Detection2DArray` names them, ROS 2 Humble and later.
MESSAGES = {
    "Detection2DArray": {"header": "Header", "detections": "Detection2D[]"},
    "Detection2D": {"header": "Header", "results": "ObjectHypothesisWithPose[]", "bbox": "BoundingBox2D", "id": "string"},
    "ObjectHypothesisWithPose": {"hypothesis": "ObjectHypothesis", "pose": "PoseWithCovariance"},
    "ObjectHypothesis": {"class_id": "string", "score": "float64"},
    "BoundingBox2D": {"center": "Pose2D", "size_x": "float64", "size_y": "float64"},
    "Pose2D": {"position": "Point2D", "theta": "float64"},
    "Point2D": {"x": "float64", "y": "float64"},
    "Header": {"stamp": "Time", "frame_id": "string"},
    "Time": {"sec": "int32", "nanosec": "uint32"},
    "PoseWithCovariance": {"pose": "Pose", "covariance": "float64[]"},  # 36 of them
    "Pose": {"position": "Point", "orientation": "Quaternion"},
    "Point": {"x": "float64", "y": "float64", "z": "float64"},
    "Quaternion": {"x": "float64", "y": "float64", "z": "float64", "w": "float64"},
}
PLAIN = {"string": ("string", str), "float64": ("number", float), "int32": ("integer", int), "uint32": ("integer", int)}


def resolved(root, node):
    for one in (node, *node.get("allOf", [])):
        if "$ref" in one:
            return root["definitions"][one["$ref"].rsplit("/", 1)[1]]
    return node


def hold(root, node, kind, path):
    """Holds a schema to a ROS type: the same fields, each always there and of that type."""
    node = resolved(root, node)
    if kind.endswith("[]"):
        assert node["type"] == "array", path
        hold(root, node["items"], kind[:-2], f"{path}[]")
    elif kind in PLAIN:
        assert node["type"] == PLAIN[kind][0], f"{path} is {node}, not {kind}"
    else:
        names = set(MESSAGES[kind])
        assert set(node["properties"]) == names == set(node["required"]), f"{path} is no {kind}: {node['properties'].keys()}"
        for name, field in MESSAGES[kind].items():
            hold(root, node["properties"][name], field, f"{path}.{name}")


def message(kind):
    """A class with the fields of a ROS message."""

    def new(self):
        for name, field in MESSAGES[kind].items():
            empty = [] if field.endswith("[]") else PLAIN[field][1]() if field in PLAIN else message(field)()
            setattr(self, name, empty)

    return type(kind, (), {"__init__": new, "kind": kind})


def set_message_fields(target, values):
    """As rosidl_runtime_py's: takes no field that the message has not, nor a value of another type."""
    for name, value in values.items():
        setattr(target, name, taken(MESSAGES[target.kind][name], value))


def taken(kind, value):
    if kind.endswith("[]"):
        return [taken(kind[:-2], item) for item in value]
    if kind in PLAIN:
        assert isinstance(value, PLAIN[kind][1]), f"{value!r} is no {kind}"
        return value
    part = message(kind)()
    set_message_fields(part, value)
    return part


def run(program, text, now):
    """Runs the node, hands it one message of the bridge, and gives the topic it listens to and what it publishes `now`."""
    published, heard = [], {}
    publisher = lambda kind, topic, _: types.SimpleNamespace(publish=lambda array: published.append((topic, array)))
    node = types.SimpleNamespace(
        create_publisher=publisher, create_subscription=lambda _kind, topic, told, _depth: heard.update({topic: told})
    )
    modules = {
        "time": {"time": lambda: now},
        "rclpy": {"init": lambda: None, "create_node": lambda _: node, "spin": lambda _: None},
        "rosidl_runtime_py": {"set_message_fields": set_message_fields},
        "std_msgs": {},
        "std_msgs.msg": {"String": object},
        "vision_msgs": {},
        "vision_msgs.msg": {"Detection2DArray": message("Detection2DArray")},
    }
    for name, content in modules.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
    exec(program, {})
    ((topic, told),) = heard.items()
    told(types.SimpleNamespace(data=text))
    return topic, published


docs, text = pathlib.Path(sys.argv[1]), sys.stdin.read()
schema = json.loads((docs / "contract/ros2.json").read_text())
hold(schema, schema, "Detection2DArray", "message")

sent, program = json.loads(text), (docs / "ros2/detections.py").read_text()
stamp = sent["header"]["stamp"]
captured = stamp["sec"] + stamp["nanosec"] / 1e9
topic, published = run(program, text, captured + 0.2)
((_, array),) = published
(red,) = array.detections
for wrong, why in ((2.1, "what waited"), (3600.0, "what a broker had kept"), (-3600.0, "what has no true stamp")):
    assert run(program, text, captured + wrong) == (topic, []), f"{why} is left out"
assert (array.header.stamp.sec, array.header.frame_id) == (sent["header"]["stamp"]["sec"], sent["header"]["frame_id"])
assert red.results[0].hypothesis.class_id == sent["detections"][0]["results"][0]["hypothesis"]["class_id"]
assert len(red.results[0].pose.covariance) == 36 and red.bbox.size_x == sent["detections"][0]["bbox"]["size_x"]

# What every version of the bridge has: its program. The names of its launch files changed.
configuration = (docs / "ros2/mqtt_client.yaml").read_text()
assert "ros2 run mqtt_client mqtt_client --ros-args --params-file mqtt_client.yaml\n" in configuration and "launch" not in configuration
settings = yaml.safe_load(configuration)["mqtt_client"]["ros__parameters"]
api = json.loads((docs / "contract/asyncapi.json").read_text())
ours = api["channels"]["detections"]["address"].replace("{device}", "hall")
bridge = settings["bridge"]["mqtt2ros"]
assert bridge["mqtt_topics"] == [ours], f"{bridge['mqtt_topics']} is not {ours}"
assert bridge[ours]["ros_topic"] == topic and bridge[ours]["primitive"] is True, "what the node listens to, as text"
assert bridge[ours]["advanced"]["mqtt"]["qos"] == api["operations"]["tell_detections"]["bindings"]["mqtt"]["qos"]
assert settings["client"]["id"] and settings["client"]["clean_session"] is True, "nothing is kept for one that steers"
