"""Where usage is measured, as the configuration says it."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.core.errors import UsageError
from fleet.core.metrics import QUERY, AomMetrics, FileMetrics, PrometheusMetrics
from fleet.core.pacing.limits import Rate
from fleet.core.scope import AkSkKeys
from fleet.core.usage import Resource
from fleet.settings import secret_values

KEYS = {"HUAWEICLOUD_SDK_AK": "AK", "HUAWEICLOUD_SDK_SK": "SK"}


@pytest.fixture
def configured(machine: Any) -> Any:
    """Loads the source of the only scope from these tables."""
    machine.environ.update(KEYS)

    def load(tables: str, extra: str = "") -> Any:
        machine.scope(extra, tables)
        (spec,) = machine.load().scopes()
        return spec.metrics

    return load


def refusal(configured: Any, tables: str, extra: str = "") -> str:
    with pytest.raises(UsageError) as caught:
        configured(tables, extra)
    return str(caught.value).removeprefix("fleet.toml: ")


def test_without_a_table_there_is_no_source(configured: Any) -> None:
    assert configured("") is None


def test_aom_is_where_the_vendor_keeps_it_unless_told_otherwise(configured: Any) -> None:
    found = configured('[metrics.aom]\nkind = "aom"')
    assert found == AomMetrics("https://aom.cn-north-4.myhuaweicloud.com")
    assert (found.queries.template, found.queries.label, found.queries.step) == (QUERY, "service_id", 600.0)


def test_everything_about_a_query_can_be_set(configured: Any) -> None:
    found = configured(
        '[metrics.aom]\nkind = "aom"\nendpoint = "http://127.0.0.1:9"\ninstance = "0"\nlabel = "nb"\n'
        'step = "5m"\nrate = "10/s"\nquery = "$metric{nb=~\'$ids\'}"\nnames = {cpu = "node:cpu"}'
    )
    assert (found.endpoint, found.instance, found.rate) == ("http://127.0.0.1:9", "0", Rate(10, 1.0))
    assert (found.queries.label, found.queries.step) == ("nb", 300.0)
    assert found.queries.names[Resource.CPU] == "node:cpu"
    assert found.queries.names[Resource.MEMORY] == "ma_container_memory_util"


def test_a_prometheus_server_with_a_token_from_the_environment(configured: Any, machine: Any) -> None:
    machine.environ["PROM_TOKEN"] = "canary"
    found = configured(
        '[metrics.prom]\nkind = "prometheus"\nurl = "https://prom.example.com:9090/a/b/"\n'
        'token_env = "PROM_TOKEN"'
    )
    assert isinstance(found, PrometheusMetrics)
    assert (found.origin, found.path, found.token) == ("https://prom.example.com:9090", "/a/b", "canary")
    assert "canary" not in repr(found)


def test_a_file_is_relative_to_the_configuration(configured: Any, machine: Any) -> None:
    found = configured('[metrics.mine]\nkind = "file"\npath = "usage.csv"\nstep = "1h"')
    assert found == FileMetrics(str(machine.cwd / "usage.csv"), 3600.0)


TWO = '[metrics.a]\nkind = "file"\npath = "a"\n[metrics.b]\nkind = "file"\npath = "b"'


def test_of_several_sources_the_scope_names_one_or_has_none(configured: Any, machine: Any) -> None:
    assert configured(TWO, 'metrics = "b"') == FileMetrics(str(machine.cwd / "b"))
    assert configured(TWO) is None


@pytest.mark.parametrize(
    ("tables", "extra", "told"),
    [
        (TWO, 'metrics = "bb"', "scope[0].metrics: unknown table; did you mean b? (scope lab-a)"),
        ("", 'metrics = "b"', "scope[0].metrics: no [metrics.NAME] table (scope lab-a)"),
        ("[metrics.a]", "", "metrics.a: kind is missing: aom, prometheus or file"),
        ('[metrics.a]\nkind = "ces"', "", "metrics.a: kind must be aom, prometheus or file"),
        ('[credentials.a]\nkind = "x"', "", "credentials.a: kind must be aksk, password, token or profile"),
        ('[metrics.a]\nkind = "aom"\nlable = "x"', "", "metrics.a.lable: unknown key; did you mean label?"),
        ('[metrics.a]\nkind = "aom"\nquery = "up"', "", "metrics.a.query: must hold $metric and $ids"),
        (
            '[metrics.a]\nkind = "aom"\nlabel = "a b"',
            "",
            "metrics.a.label: not a label name such as service_id",
        ),
        ('[metrics.a]\nkind = "aom"\ninstance = "a/b"', "", "metrics.a.instance: not the id of a Prometheus"),
        ('[metrics.a]\nkind = "aom"\nstep = "0s"', "", "metrics.a.step: not a pause"),
        ('[metrics.a]\nkind = "aom"\nnames = {disk = "x"}', "", "metrics.a.names.disk.[key]: not a resource"),
        ('[metrics.a]\nkind = "aom"\nnames = {cpu = "a{b}"}', "", "metrics.a.names.cpu: not a metric name"),
        ('[metrics.a]\nkind = "prometheus"', "", "metrics.a.url: missing"),
        (
            '[metrics.a]\nkind = "prometheus"\nurl = "https://u:p@h"',
            "",
            "metrics.a.url: must be https://HOST",
        ),
        ('[metrics.a]\nkind = "prometheus"\nurl = "https://h/?q"', "", "metrics.a.url: must be https://HOST"),
        (
            '[metrics.a]\nkind = "prometheus"\nurl = "http://h"',
            "",
            "metrics.a.url: plain http is for loopback",
        ),
        (
            '[metrics.a]\nkind = "prometheus"\nurl = "https://h"\ntoken_env = "NO_SUCH"',
            "",
            "metrics.a.token_env: the environment variable NO_SUCH is not set",
        ),
        (
            '[metrics.a]\nkind = "prometheus"\nurl = "https://h"\ntoken = "a b"',
            "",
            "metrics.a.token holds a space",
        ),
        (
            '[metrics.a]\nkind = "prometheus"\nurl = "https://h"\nca_file = "none.pem"',
            "",
            "metrics.a: ca_file",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(configured: Any, tables: str, extra: str, told: str) -> None:
    assert refusal(configured, tables, extra).startswith(told)


def test_a_token_in_the_file_is_a_secret_of_the_file(configured: Any, machine: Any) -> None:
    machine.environ.update(KEYS)
    table = '[metrics.a]\nkind = "prometheus"\nurl = "https://h"\ntoken = "canary"'
    machine.scope("", table, mode=0o644)
    with pytest.raises(UsageError, match="chmod 600") as caught:
        machine.load()
    assert "canary" not in str(caught.value)


def test_the_token_of_a_server_is_among_what_must_never_be_shown() -> None:
    server = PrometheusMetrics("https://h", token="canary")
    assert secret_values(AkSkKeys("ak", "sk"), server) == ("sk", "canary")
    assert secret_values(AkSkKeys("ak", "sk"), AomMetrics("https://h")) == ("sk",)
