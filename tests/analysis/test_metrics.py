"""The manual has the table of metrics as it is in the code."""

from pathlib import Path

import pytest

from napari_hrpn.analysis.metrics import COHORT, COHORT_FIGURE, COHORT_PAGE, METRICS, ROI, Metric, metrics_in

DOCS = Path(__file__).parents[2] / "docs"


def table(head: str, rows: list[tuple[str, ...]]) -> str:
    lines = [tuple(head.split("|")), ("---",) * len(head.split("|")), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '¦') for cell in line)} |" for line in lines)


def evaluation_row(metric: Metric) -> tuple[str, ...]:
    interval = "yes" if metric.interval else ""
    return f"`{metric.key}`", metric.title, metric.unit, metric.definition, interval


PAGES = {
    "evaluation": table("key|name|unit|what it is|interval", [evaluation_row(metric) for metric in METRICS]),
    "roi-correlation": table(
        "|what it is", [(metric.heading, metric.definition) for metric in (*metrics_in(ROI), METRICS[0])]
    ),
}


@pytest.mark.parametrize("page", PAGES)
def test_the_manual_has_the_table_of_the_code(page: str) -> None:
    assert PAGES[page] in (DOCS / f"{page}.md").read_text("utf-8"), f"put this into docs/{page}.md:\n{PAGES[page]}"


def test_keys_and_titles_are_of_one_metric_each() -> None:
    for names in ([metric.key for metric in METRICS], [metric.title for metric in METRICS]):
        assert len(set(names)) == len(names)


def test_definitions_are_sentences() -> None:
    assert [metric.key for metric in METRICS if not metric.definition.endswith(".")] == []


def test_what_pages_and_figures_of_cohorts_show_is_in_their_tables() -> None:
    shown = {metric.key for view in (COHORT_PAGE, COHORT_FIGURE) for metric in metrics_in(view)}
    assert shown <= {metric.key for metric in metrics_in(COHORT)}
