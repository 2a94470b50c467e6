"""A ROS 2 node: /tvsl/detections/json (std_msgs/String) to /tvsl/detections (vision_msgs/Detection2DArray).

What is old, because it waited for a connection or in a broker, is left out: robots steer by what comes. That takes clocks
that are set, here and on the device.
"""

import json
import time

import rclpy
from rosidl_runtime_py import set_message_fields
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

rclpy.init()
node = rclpy.create_node("tvsl_detections")
OLD = 2.0  # seconds; who records instead makes this float("inf")
publisher = node.create_publisher(Detection2DArray, "/tvsl/detections", 10)


def told(text):
    array = Detection2DArray()
    set_message_fields(array, json.loads(text.data))
    stamp = array.header.stamp
    if abs(time.time() - (stamp.sec + stamp.nanosec / 1e9)) < OLD:
        publisher.publish(array)


node.create_subscription(String, "/tvsl/detections/json", told, 10)
rclpy.spin(node)
