from __future__ import annotations

import streamlit as st

from pages._parts import decision, photos, plan, progress, workspace
from pages._ui import frame, selection
from vlmad_core.errors import VlmadError

frame.begin("your_parts")
try:
    part = photos.show_photos(workspace.choose_part())
    if part is not None:
        plan.show_plan(part)
        progress.show_progress(part)
        decision.show_decision(part)
except VlmadError as error:
    st.error(selection.tidy(str(error), 400), icon=":material/error:")
workspace.show_workspace()
