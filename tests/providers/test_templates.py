"""Settings in the templates of a provider's row."""

import pytest

from sidecar.catalogue.provider_columns import AddressColumns, Setting
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.core.errors import SidecarError
from sidecar.providers.templates import fill, fill_headers

ROW = ProviderRow(
    name="Lab",
    wire="openai_chat",
    address=AddressColumns(base_url="https://lab.test"),
    settings={"region": Setting(env=["LAB_REGION", "REGION"]), "account": Setting()},
)


@pytest.mark.parametrize(
    ("template", "settings", "filled"),
    [
        ("https://{region}.lab.test/v1", {"region": "eu-1"}, "https://eu-1.lab.test/v1"),
        ("https://api.{domain}", {"domain": "lab.test"}, "https://api.lab.test"),
        ("https://api.{domain}/v1", {"domain": "lab.test"}, "https://api.lab.test/v1"),
        ("/models/{model}", {"model": "vendor/m@1"}, "/models/vendor/m@1"),
        ("/models/{model}", {"model": "a b?c"}, "/models/a%20b%3Fc"),
        ("/accounts/{account}", {"account": "a/b"}, "/accounts/a%2Fb"),
        ("/plain", {}, "/plain"),
    ],
)
def test_a_template_is_filled_and_percent_encoded(template: str, settings: dict[str, str], filled: str) -> None:
    assert fill(template, "lab", ROW, settings) == filled


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("https://{region}.lab.test", "a.b"),
        ("https://{region}.lab.test/v1", "evil.test/"),
        ("https://api.{region}", "a@b"),
        ("https://api.{region}/v1", "lab.test:1"),
    ],
)
def test_a_value_cannot_change_whose_host_it_is(template: str, value: str) -> None:
    with pytest.raises(SidecarError) as caught:
        fill(template, "lab", ROW, {"region": value})
    assert caught.value.body.param == "params.settings.region"
    assert value not in caught.value.body.message


def test_a_missing_setting_is_named_with_every_place_for_it() -> None:
    with pytest.raises(SidecarError) as caught:
        fill("/{region}", "lab", ROW, {})
    assert caught.value.body.message == "Lab needs the setting `region`."
    hint = caught.value.body.hint or ""
    assert all(place in hint for place in ("[providers.lab]", "LAB_REGION or REGION", "`params.settings.region`"))
    with pytest.raises(SidecarError) as caught:
        fill("/{account}", "lab", ROW, {})
    assert "SIDECAR_LAB_ACCOUNT" in (caught.value.body.hint or "")


def test_a_header_is_sent_if_its_settings_have_values() -> None:
    templates = {"x-one": "{a}", "x-both": "{a}-{b}"}
    assert fill_headers(templates, {"a": "1"}) == {"x-one": "1"}
    assert fill_headers(templates, {"a": "1", "b": "2"}) == {"x-one": "1", "x-both": "1-2"}
