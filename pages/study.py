from __future__ import annotations

import streamlit as st

from pages._study import parts
from pages._ui import frame, selection

frame.begin("study")
one = frame.comparison()
st.markdown(
    "Six questions, answered from stored runs. **On these parts**: would other images of them change it? "
    "**On other parts**: would other categories? Brackets hold 95 % intervals."
)
found = parts.six_answers(one)
answers = [answer for answer in found if answer.answered]
for answer in answers:
    parts.in_short(answer)

st.subheader("Which method for you?", anchor=False)
parts.adviser(one)

if answers:
    titles = {answer.question.name: answer.question for answer in answers}
    st.subheader("The evidence", anchor=False)
    chosen = selection.choose(
        "question", "Question", list(titles), next(iter(titles)), segmented=True,
        format_func=lambda name: titles[name].title,
    )  # fmt: skip
    st.markdown(f"#### {titles[chosen].ask}")
    parts.show_answer(next(answer for answer in answers if answer.question.name == chosen))
parts.folded(one, found)
