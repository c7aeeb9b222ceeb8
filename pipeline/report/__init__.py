"""What a finished run shows: the table on the terminal and the page `report.html`."""

from pipeline.report.evidence_types import Evidence
from pipeline.report.page import write_report
from pipeline.report.terminal import summary_table

__all__ = ["Evidence", "summary_table", "write_report"]
