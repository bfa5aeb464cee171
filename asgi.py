"""What serves the dashboard: ``app.py``, behind the gate where signing in is set up. Start it with ``make app``."""

from __future__ import annotations

import sys

import streamlit as st

from pages._ui import gate
from vlmad_core.errors import VlmadError

try:
    middleware = gate.middleware()
except VlmadError as error:
    sys.exit(str(error))

app = st.App("app.py", middleware=middleware)
