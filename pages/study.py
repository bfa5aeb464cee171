from __future__ import annotations

import streamlit as st

from pages._study import parts
from pages._ui import frame, selection

frame.begin("study")
one = frame.comparison()
st.markdown(
    "Six questions about vision-language anomaly detection, answered for the data set and backbone chosen above. "
    "Every sentence is computed from stored runs; intervals are over categories."
)
answers = parts.six_answers(one)
missing = [finding for answer in answers for finding in answer.findings if not finding.answered]
if missing:
    total = sum(len(answer.findings) for answer in answers)
    with st.expander(f"{len(missing)} of {total} parts have no answer yet", icon=":material/hourglass_empty:"):
        st.markdown("This command runs what is missing; what is done already is kept.")
        backbone, dataset = one.runs[0].key.backbone, selection.tidy(one.dataset)
        st.code(parts.COMMAND.format(dataset=dataset, backbone=backbone), language="bash", wrap_lines=True)

titles = {answer.question.name: answer.question for answer in answers}
st.subheader("In short", anchor=False)
for answer in answers:
    st.markdown(f"**{answer.question.title}.** {answer.question.ask} {answer.headline}")

st.subheader("Which method for you?", anchor=False)
parts.adviser(one)

st.subheader("The evidence", anchor=False)
chosen = selection.choose(
    "question", "Question", list(titles), next(iter(titles)), segmented=True,
    format_func=lambda name: titles[name].title,
)  # fmt: skip
st.markdown(f"#### {titles[chosen].ask}")
parts.show_answer(next(answer for answer in answers if answer.question.name == chosen))
