"""Contracts that ship with qpeft, for authors of methods, circuits and backends: run them against your own."""

from qpeft.testing.adapters import ADAPTER_OPTIONS as ADAPTER_OPTIONS
from qpeft.testing.adapters import NEED_TASKS as NEED_TASKS
from qpeft.testing.adapters import TOLERANCES as TOLERANCES
from qpeft.testing.adapters import VANILLA_FAILURES as VANILLA_FAILURES
from qpeft.testing.adapters import adapter_config as adapter_config
from qpeft.testing.ansatz import ANSATZ_PARTS as ANSATZ_PARTS
from qpeft.testing.ansatz import check_ansatz as check_ansatz
from qpeft.testing.backend import BACKEND_PARTS as BACKEND_PARTS
from qpeft.testing.backend import check_backend as check_backend
from qpeft.testing.contract import check_adapter_under_qpa as check_adapter_under_qpa
from qpeft.testing.metric import METRIC_PARTS as METRIC_PARTS
from qpeft.testing.metric import Measured as Measured
from qpeft.testing.metric import check_metric as check_metric
from qpeft.testing.promises import broken as broken
from qpeft.testing.trial import Trial as Trial
from qpeft.testing.tuner import PARTS as PARTS
from qpeft.testing.tuner import check_tuner as check_tuner
