"""A ROS 2 node: /tvsl/detections/json (std_msgs/String) to /tvsl/detections (vision_msgs/Detection2DArray)."""

import json

import rclpy
from rosidl_runtime_py import set_message_fields
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

rclpy.init()
node = rclpy.create_node("tvsl_detections")
publisher = node.create_publisher(Detection2DArray, "/tvsl/detections", 10)


def told(text):
    array = Detection2DArray()
    set_message_fields(array, json.loads(text.data))
    publisher.publish(array)


node.create_subscription(String, "/tvsl/detections/json", told, 10)
rclpy.spin(node)
