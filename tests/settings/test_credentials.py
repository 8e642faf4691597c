"""Whose keys are used, in which order, and that no message ever holds one."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fleet.core.errors import UsageError
from fleet.core.scope import AkSkKeys, PasswordLogin, TokenGiven
from fleet.settings import secret_values
from fleet.settings.files import is_private
from fleet.settings.tables import TokenTable

CANARY = "cAnArY-7f3Xq9"


def sdk(keys: str) -> dict[str, str]:
    return {"HUAWEICLOUD_SDK_AK": f"{keys}-ak", "HUAWEICLOUD_SDK_SK": f"{keys}-sk"}


def hw(keys: str) -> dict[str, str]:
    return {"HW_ACCESS_KEY": f"{keys}-ak", "HW_SECRET_KEY": f"{keys}-sk"}


def ini(keys: str, section: str = "basic") -> str:
    return f"[{section}]\nak = {keys}-ak\nsk = {keys}-sk\n"


def credential(machine: Any) -> Any:
    return machine.load().scopes()[0].credential


@pytest.mark.parametrize(
    ("own", "environ", "profile", "terraform"), [p for p in product([True, False], repeat=4) if any(p)]
)
def test_the_first_filled_place_wins(
    machine: Any, own: bool, environ: bool, profile: bool, terraform: bool
) -> None:
    if own:
        table = '[credentials.c]\nkind = "aksk"\naccess_key = "own-ak"\nsecret_key = "own-sk"'
        machine.scope('credentials = "c"', table)
    else:
        machine.scope()
    machine.environ |= (sdk("env") if environ else {}) | (hw("hw") if terraform else {})
    if profile:
        machine.profile(ini("ini"))
    expected = "own" if own else "env" if environ else "ini" if profile else "hw"
    assert credential(machine) == AkSkKeys(f"{expected}-ak", f"{expected}-sk")


def test_temporary_keys_keep_their_token(machine: Any) -> None:
    machine.scope()
    machine.environ |= sdk("a") | {"HUAWEICLOUD_SDK_SECURITY_TOKEN": "sts"}
    assert credential(machine) == AkSkKeys("a-ak", "a-sk", "sts")


def test_when_every_place_is_empty_each_one_is_named(machine: Any) -> None:
    machine.scope()
    with pytest.raises(UsageError) as caught:
        machine.load().scopes()
    text = str(caught.value)
    assert text.startswith("scope lab-a: no credentials; looked at HUAWEICLOUD_SDK_AK")
    assert str(machine.home / ".huaweicloud" / "credentials") in text
    assert "HW_ACCESS_KEY" in text


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"HUAWEICLOUD_SDK_AK": CANARY},
            "HUAWEICLOUD_SDK_AK is set but HUAWEICLOUD_SDK_SK is not",
        ),
        ({"HW_SECRET_KEY": CANARY}, "HW_SECRET_KEY is set but HW_ACCESS_KEY is not"),
    ],
)
def test_half_a_place_is_an_error_not_a_reason_to_be_somebody_else(
    machine: Any, environ: dict[str, str], message: str
) -> None:
    machine.scope()
    machine.environ |= (hw("other") if "HW_SECRET_KEY" not in environ else {}) | environ
    with pytest.raises(UsageError, match=message):
        machine.load().scopes()


def test_a_profile_names_its_section(machine: Any) -> None:
    machine.scope('credentials = "c"', '[credentials.c]\nkind = "profile"\nprofile = "batch"')
    machine.profile(ini("basic") + ini("batch", "batch"))
    assert credential(machine) == AkSkKeys("batch-ak", "batch-sk")


def test_a_missing_section_is_said_so(machine: Any) -> None:
    machine.scope('credentials = "c"', '[credentials.c]\nkind = "profile"\nprofile = "bach"')
    machine.profile(ini("basic"))
    with pytest.raises(UsageError, match=r"credentials\.c: no ak and sk in section \[bach\]"):
        machine.load().scopes()


def test_a_percent_sign_in_the_profile_is_a_percent_sign(machine: Any) -> None:
    machine.scope()
    machine.profile("[basic]\nak = a\nsk = 100%(x)s%\n")
    assert credential(machine).secret_key == "100%(x)s%"


def test_a_profile_file_named_by_the_environment_must_exist(machine: Any, tmp_path: Path) -> None:
    machine.scope()
    machine.environ |= hw("hw") | {"HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(tmp_path / "keys")}
    with pytest.raises(UsageError, match="keys: no such file"):
        machine.load().scopes()
    machine.write(ini("named"), tmp_path / "keys")
    assert credential(machine).access_key == "named-ak"


@pytest.mark.security("credentials")
def test_a_profile_file_that_others_may_read_is_refused(machine: Any) -> None:
    machine.scope()
    path = machine.profile(ini("ini"), mode=0o640)
    with pytest.raises(UsageError, match=f"chmod 600 {path}"):
        machine.load().scopes()


PASSWORD = '[credentials.c]\nkind = "password"\nuser = "u"\ndomain = "d"\npassword = "p w"'
TOKEN = '[credentials.c]\nkind = "token"\ntoken = "t"'


def test_a_password_and_a_token_are_credentials_too(machine: Any) -> None:
    machine.scope('credentials = "c"', PASSWORD)
    assert credential(machine) == PasswordLogin(user="u", domain="d", password="p w")
    machine.scope('credentials = "c"', TOKEN)
    assert credential(machine) == TokenGiven("t")


@pytest.mark.security("credentials")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644])
def test_a_secret_in_a_file_that_others_may_touch_is_refused_with_the_remedy(machine: Any, mode: int) -> None:
    machine.scope('credentials = "c"', TOKEN, mode=mode)
    with pytest.raises(UsageError) as caught:
        machine.load()
    assert str(caught.value).endswith(f"chmod 600 {machine.cwd / 'fleet.toml'}")


def test_the_remedy_is_quoted_for_a_shell(machine: Any) -> None:
    machine.scope('credentials = "c"', TOKEN, mode=0o644)
    odd = (machine.cwd / "fleet.toml").rename(machine.cwd / "my fleet.toml")
    with pytest.raises(UsageError) as caught:
        machine.load(odd)
    assert str(caught.value).endswith(f"chmod 600 '{odd}'")


def test_a_link_is_judged_by_the_file_at_its_end(machine: Any) -> None:
    machine.scope('credentials = "c"', TOKEN, mode=0o644)
    real = (machine.cwd / "fleet.toml").rename(machine.home / "real.toml")
    (machine.cwd / "fleet.toml").symlink_to(real)
    with pytest.raises(UsageError, match=f"chmod 600 {real}"):
        machine.load()
    real.chmod(0o600)
    assert credential(machine) == TokenGiven("t")


def test_a_file_without_secrets_may_be_shared(machine: Any) -> None:
    machine.environ["T"] = "t"
    table = '[credentials.c]\nkind = "token"\ntoken_env = "T"'
    machine.scope('credentials = "c"', table, mode=0o664)
    assert credential(machine) == TokenGiven("t")


@pytest.mark.parametrize(
    ("owner", "mode", "private"),
    [
        (7, 0o100600, True),
        (7, 0o100400, True),
        (8, 0o100600, False),
        (0, 0o100600, False),
        (7, 0o100610, False),
    ],
)
def test_a_file_is_private_when_it_is_ours_and_nobody_elses(owner: int, mode: int, private: bool) -> None:
    assert is_private(owner, mode, us=7) is private


def test_secret_values_are_the_secrets_and_nothing_else() -> None:
    assert secret_values(AkSkKeys("ak", "sk", "sts")) == ("sk", "sts")
    assert secret_values(AkSkKeys("ak", "sk")) == ("sk",)
    assert secret_values(PasswordLogin("u", "d", "pw")) == ("pw",)
    assert secret_values(TokenGiven("t")) == ("t",)


AKSK = '[credentials.c]\nkind = "aksk"\n'


@pytest.mark.security("secrets")
@pytest.mark.parametrize(
    ("extra", "table"),
    [
        ('credentials = "c"', AKSK + f'access_key = "{CANARY}"\nsecret_key = "{CANARY} {CANARY}"'),
        ('credentials = "c"', AKSK + f'access_key = "a"\nsecret_key = "{CANARY}"\nsecret_key_env = "E"'),
        ('credentials = "c"', AKSK + f'access_key = "a"\nsecret_kye = "{CANARY}"'),
        ('credentials = "c"', AKSK + f'access_key = "a"\nsecret_key = ["{CANARY}"]'),
        ('credentials = "c"', AKSK + f'access_key = "a"\nsecret_key = {CANARY}'),
        ('credentials = "c"', AKSK + f'access_key = "a"\nsecret_key_env = "{CANARY}"'),
        ('credentials = "c"', AKSK + 'access_key = "a"\nsecret_key_env = "EMPTY"'),
        ('credentials = "c"', AKSK + 'access_key = "a"\nsecret_key_env = "SPACED"'),
        ('credentials = "c"', f'[credentials.c]\nkind = "{CANARY}"'),
        ('credentials = "c"', f'[credentials.c]\nkind = "token"\ntoken = "{CANARY}\\n"'),
        ('credentials = "c"', f'[credentials.c]\nkind = "password"\nuser = "u"\npassword = "{CANARY}"'),
        (f'endpoint = "https://u:{CANARY}@host"', ""),
        (f'endpoint = "https://host/?token={CANARY}"', ""),
        (f'rate = "{CANARY}"', ""),
        (f'poll = "{CANARY}"', ""),
        (f'region = "{CANARY}"', ""),
        (f'features = ["{CANARY}"]', ""),
        (f'list = "{CANARY}"', ""),
        (f'ca_file = ["{CANARY}"]', ""),
        ("", f'"x = "{CANARY}"'),
    ],
)
def test_no_wrong_file_makes_a_secret_appear(machine: Any, extra: str, table: str) -> None:
    machine.environ |= {"SPACED": f" {CANARY}", "OTHER": CANARY} | sdk(CANARY)
    machine.scope(extra, table)
    assert_silent(machine)


@pytest.mark.security("secrets")
@pytest.mark.parametrize(
    "text",
    [
        f"ak = a\nsk = {CANARY}\n",
        f"[basic]\nak = a\nsk = {CANARY}\nsk = {CANARY}\n",
        f"[basic]\nak = a\n{CANARY}\n",
        f"[basic\nsk = {CANARY}\n",
        f"[basic]\nsk = {CANARY}\n",
        f"[basic]\nak = a\nsk = {CANARY}\n {CANARY}\n",
        f"[basic]\nak = a\nsk = {CANARY} é\n",
    ],
)
def test_no_wrong_profile_file_makes_a_secret_appear(machine: Any, text: str) -> None:
    machine.scope()
    machine.profile(text)
    assert_silent(machine)


@pytest.mark.security("secrets")
def test_the_validation_error_itself_hides_its_input() -> None:
    with pytest.raises(ValidationError) as caught:
        TokenTable.model_validate({"kind": "token", "token": [CANARY]})
    assert CANARY not in f"{caught.value} {caught.value!r}"


@pytest.mark.security("secrets", "credentials")
def test_nothing_that_is_loaded_shows_a_secret(machine: Any) -> None:
    table = AKSK + f'access_key = "a"\nsecret_key = "{CANARY}"\nsecurity_token = "{CANARY}"'
    machine.environ |= {"X": CANARY}
    machine.scope('credentials = "c"', table)
    settings = machine.load()
    assert settings.scopes()[0].credential.secret_key == CANARY
    assert (
        CANARY
        not in f"{settings!r} {settings} {settings.scopes()!r} {settings._tables!r} {settings._around!r}"
    )


def assert_silent(machine: Any) -> None:
    """Loading is refused, and neither the error nor any error it came from shows the canary."""
    with pytest.raises(UsageError) as caught:
        machine.load().scopes()
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in f"{error} {error!r} {error.args} {vars(error)}"
        error = error.__cause__ or error.__context__
