"""Records: what was asked for (RunSpec), what came out (RunRecord), and the append-only store."""

from qpeft.records.record import Blocks as Blocks
from qpeft.records.record import CurvePoint as CurvePoint
from qpeft.records.record import MetaInfo as MetaInfo
from qpeft.records.record import Metric as Metric
from qpeft.records.record import Quantum as Quantum
from qpeft.records.record import RunInfo as RunInfo
from qpeft.records.record import RunRecord as RunRecord
from qpeft.records.record import TrainInfo as TrainInfo
from qpeft.records.spec import Comparison as Comparison
from qpeft.records.spec import DataSpec as DataSpec
from qpeft.records.spec import EvalSpec as EvalSpec
from qpeft.records.spec import MethodSpec as MethodSpec
from qpeft.records.spec import ModelSpec as ModelSpec
from qpeft.records.spec import RunSpec as RunSpec
from qpeft.records.spec import TrainSpec as TrainSpec
from qpeft.records.store import RECORD as RECORD
from qpeft.records.store import find_records as find_records
from qpeft.records.store import read_record as read_record
from qpeft.records.store import write_atomically as write_atomically
from qpeft.records.store import write_record as write_record
