"""The report of a run: one HTML file that explains every number and shows what was dropped."""

from pipeline.report.page import render, write_report

__all__ = ["render", "write_report"]
