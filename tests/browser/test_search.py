"""What readers type, and the page that answers them: it is among the first three hits."""

import pytest
import visits

QUERIES = {
    "Expected more than 1 value per channel when training": {"glossary", "derivations/statistics"},
    "eval mode": {"questions", "derivations/inference"},
    "momentum": {"play", "questions", "derivations/statistics"},
    "freeze batch norm fine-tuning": {"questions"},
    "loss becomes NaN": {"questions"},
    "running variance unbiased": {"glossary", "derivations/statistics"},
    "double backward": {"derivations/second_order"},
    "fold": {"glossary", "derivations/inference"},
    "layer norm": {"questions", "derivations/other_axes"},
    "gradient check": {"gallery/01_by_hand/plot_02_check_the_gradient"},
    "batch size 1": {"derivations/inference", "derivations/forward", "findings"},
    "learning rate": {"gallery/03_in_training/plot_02_raise_the_learning_rate"},
    "BatchNorm1D": {"api/generated/bn_tutorial.scratch.layers"},
}


@pytest.mark.parametrize(("query", "answers"), QUERIES.items())
def test_search_finds_an_answer_in_its_first_three_hits(query, answers, in_context, address):
    page = in_context().new_page()
    try:
        hits = visits.first_hits(page, address, query)
    finally:
        page.close()
    assert {f"{answer}.html" for answer in answers} & set(hits), hits
