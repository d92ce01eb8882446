#!/usr/bin/env python3
"""Writes server/routes/openapi.json from openapi.yaml (needs PyYAML; run it after every change of the description)."""
import json
import pathlib

import yaml

top = pathlib.Path(__file__).resolve().parents[2]
description = yaml.safe_load((top / "openapi.yaml").read_text())
text = json.dumps(description, ensure_ascii=False, separators=(",", ":"), default=str)
(top / "server/routes/openapi.json").write_text(text + "\n")
