"""One self-contained HTML file from run folders, and the blocks such files are made of."""

from heedful.reports import blocks, curves
from heedful.reports.page import Section, write_report
from heedful.reports.runs import Run, curve_of_each, metric_curves, read_run, read_runs, report, run_details

__all__ = [
    "Run",
    "Section",
    "blocks",
    "curve_of_each",
    "curves",
    "metric_curves",
    "read_run",
    "read_runs",
    "report",
    "run_details",
    "write_report",
]
