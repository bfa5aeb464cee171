"""The dashboard's router: navigation and what all pages share. Start it with ``make app``."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages._ui import frame, machine, upkeep, visitor

ICON = Path(__file__).parent / "pages" / "_ui" / "icon.svg"
VIEWS = {
    "": [("overview", "Overview", "dashboard", "What was compared, on what, and which method is best for what.")],
    "Compare": [
        ("leaderboard", "Leaderboard", "leaderboard", "Methods ranked by metric, with intervals."),
        ("categories", "Categories", "grid_view", "Every category and method; click a cell to see its failures."),
        ("accuracy", "Accuracy", "show_chart", "ROC and PR curves, distribution of scores, confusion."),
        ("segmentation", "Segmentation", "texture", "PRO curves, what share of each defect is found, maps."),
        ("efficiency", "Efficiency", "speed", "Accuracy against latency and memory, with the hardware."),
        ("shots", "Shots", "exposure_plus_1", "What normal reference images add."),
        ("study", "Study", "science", "Six questions, answered from stored ablations; advice."),
        ("transfer", "Transfer", "model_training", "What is learned on one data set, judged on another."),
    ],
    "Look closer": [
        ("your_parts", "Your parts", "inventory_2", "From photos of good and defective parts to the method to use."),
        ("failures", "Failures", "search", "Missed defects and false alarms, image by image."),
        ("live_demo", "Live demo", "photo_camera", "Judge an image of your own with several methods."),
        ("prompt_lab", "Prompt lab", "edit_note", "Change the words and see what it does to a whole data set."),
    ],
    "Background": [
        ("methods", "Methods", "menu_book", "How each method works and how public codes differ."),
        ("reproduction", "Reproduction", "compare_arrows", "What papers report beside what others and we get."),
        ("runs", "Runs", "receipt_long", "Where each number comes from; what could not be read."),
    ],
}

st.set_page_config(page_title="VLM-AD", page_icon=str(ICON), layout="wide")
visitor.admit()
navigation = {
    section: [
        st.Page(f"pages/{name}.py", title=title, icon=f":material/{icon}:", help=text, default=name == "overview")
        for name, title, icon, text in views
    ]
    for section, views in VIEWS.items()
}
page = st.navigation(navigation)
frame.land()
with upkeep.steady():
    frame.head(page)
    page.run()
frame.fetch_ahead()
machine.warm_up()
upkeep.warm_up()
upkeep.collect_garbage()
