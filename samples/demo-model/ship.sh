#!/bin/sh
# Puts a trained pair in the place of the bundled one and records its answers to the samples.
# usage: ship.sh PAIR
set -eu
here=$(dirname "$0")
cp "$1/demo-llm-f16.gguf" "$1/demo-mmproj-f16.gguf" "$here/../demo/"
${PYTHON:-python3} "$here/record.py" "$here/../demo" "$here/../demo/samples.json"
