"""Reports: rows, verdicts, tables, a CSV file and one offline HTML page, all made from records alone."""

from qpeft.report.caveats import caveats as caveats
from qpeft.report.circuit import CircuitVerdict as CircuitVerdict
from qpeft.report.circuit import circuit_verdicts as circuit_verdicts
from qpeft.report.csvfile import write_csv as write_csv
from qpeft.report.gallery import write_figures as write_figures
from qpeft.report.own import OwnFigure as OwnFigure
from qpeft.report.own import register_report_figure as register_report_figure
from qpeft.report.page import write_page as write_page
from qpeft.report.samples import find_samples as find_samples
from qpeft.report.static import save_figure as save_figure
from qpeft.report.summary import Row as Row
from qpeft.report.summary import summarise as summarise
from qpeft.report.terminal import markdown_table as markdown_table
from qpeft.report.terminal import print_table as print_table
from qpeft.report.verdict import Difference as Difference
from qpeft.report.verdict import Twin as Twin
from qpeft.report.verdict import conclusion as conclusion
from qpeft.report.verdict import differences as differences
from qpeft.report.verdict import find_twins as find_twins
from qpeft.report.verdict import twin_verdict as twin_verdict
