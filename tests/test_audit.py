"""`make audit`: it finds what it is there to find."""

from pathlib import Path
from typing import Any

import pytest

from tests import audit
from tests.support.locks import read_pins


def make_sbom() -> dict[str, Any]:
    return {
        "components": [
            {
                "name": name,
                "version": pin.version,
                "externalReferences": [{"hashes": [{"alg": "SHA-256", "content": "00"}]}],
            }
            for name, pins in read_pins("requirements.lock").items()
            for pin in pins
        ]
    }


def test_every_package_has_hashes_and_a_licence_that_is_allowed() -> None:
    sbom = make_sbom()
    lines = audit.check_components(sbom)
    assert any(line.startswith("msgspec ") and line.endswith("BSD-3-Clause") for line in lines)
    assert sum("not installed here" in line for line in lines) < len(lines) / 3
    assert {"expression": "MIT"} in [each["licenses"][0] for each in sbom["components"] if "licenses" in each]


def test_a_package_of_one_file_alone_is_found() -> None:
    sbom = make_sbom()
    sbom["components"][0]["version"] = "0"
    with pytest.raises(audit.AuditError, match="the lock and the SBOM differ"):
        audit.check_components(sbom)


def test_a_package_without_a_hash_is_found() -> None:
    sbom = make_sbom()
    sbom["components"][3]["externalReferences"] = []
    with pytest.raises(audit.AuditError, match="no hash"):
        audit.check_components(sbom)


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("Apache-2.0 AND CNRI-Python", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("", False),
    ],
)
def test_one_alternative_has_to_be_allowed_in_all_its_parts(expression: str, allowed: bool) -> None:
    assert audit.is_allowed(expression) == allowed


def test_a_licence_that_is_not_allowed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ALLOWED", audit.ALLOWED - {"MPL-2.0"})
    with pytest.raises(audit.AuditError, match="certifi"):
        audit.check_components(make_sbom())


@pytest.mark.spawns
def test_a_wheel_has_the_packages_and_nothing_else(tmp_path: Path) -> None:
    lines = audit.list_wheel(tmp_path)
    assert any(line.startswith("sidecar/fixtures:") for line in lines)
    assert any(line.startswith("sidecar/catalogue:") for line in lines)
    assert not [line for line in lines if line.startswith("tests")]
