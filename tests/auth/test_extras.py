"""Logins whose packages are not installed: the error names what to install."""

import sys
import tomllib

import pytest

from sidecar.auth.extras import require_extra
from sidecar.core.errors import SidecarError
from tests.support.locks import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_a_package_that_is_there_is_imported() -> None:
    require_extra("aws", "botocore.auth")
    assert "botocore.auth" in sys.modules


@pytest.mark.parametrize(("extra", "module"), [("aws", "boto3"), ("google", "google.auth"), ("anthropic", "anthropic")])
def test_a_missing_package_is_named_with_the_extra_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, extra: str, module: str
) -> None:
    assert extra in PROJECT["optional-dependencies"]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SidecarError) as caught:
        require_extra(extra, module)
    body = caught.value.body
    assert (body.code, body.reason) == ("auth_required", "extra_missing")
    assert f'"{PROJECT["name"]}[{extra}]"' in (body.hint or "")
