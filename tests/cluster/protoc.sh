#!/bin/sh
# protoc for the broker's build: that of Ubuntu 22.04 takes optional fields only if it is told to, later ones as they are.
exec protoc --experimental_allow_proto3_optional "$@"
