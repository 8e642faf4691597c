"""Where usage comes from: AOM, a Prometheus server or a file, behind one protocol."""

from fleet.client.metrics.file import SampleFile
from fleet.client.metrics.promql import PromQL
from fleet.client.metrics.source import Idleness, Source, usages

__all__ = ["Idleness", "PromQL", "SampleFile", "Source", "usages"]
