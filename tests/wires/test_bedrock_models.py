"""Bedrock's models: the model behind an id, what families take, and the inference profile to ask."""

from typing import Any

import pytest

from sidecar.wires.bedrock_converse.models import get_base_model, get_family, pick_profile


@pytest.mark.parametrize(
    ("model", "cached", "thinks"),
    [
        ("anthropic.claude-opus-5-5", 3, True),
        ("eu.anthropic.claude-sonnet-4-6", 3, True),
        ("us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", 3, True),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-8", 3, True),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", 3, False),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", 0, False),
        ("anthropic.claude-3-haiku-20240307-v1:0", 0, False),
        ("anthropic.claude-v2:1", 0, False),
        ("apac.amazon.nova-pro-v1:0", 2, False),
        ("amazon.titan-text-express-v1", 0, False),
        ("openai.gpt-oss-120b-1:0", 0, False),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", 0, False),
    ],
)
def test_what_a_family_takes_is_known_by_the_models_id(model: str, cached: int, thinks: bool) -> None:
    assert (len(get_family(model).cached), get_family(model).thinking) == (cached, thinks)


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("anthropic.claude-opus-5-5", "anthropic.claude-opus-5-5"),
        ("us.anthropic.claude-opus-5-5", "anthropic.claude-opus-5-5"),
        ("us-gov.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("global.anthropic.claude-opus-5-5", "anthropic.claude-opus-5-5"),
        ("newgeo.anthropic.claude-opus-5-5", "anthropic.claude-opus-5-5"),
        ("us.deepseek.v3.2", "deepseek.v3.2"),
        ("deepseek.v3.2", "deepseek.v3.2"),
        ("openai.gpt-5.6-luna", "openai.gpt-5.6-luna"),
        ("us.openai.gpt-6.1-sol", "openai.gpt-6.1-sol"),
        ("qwen.qwen3.5-max", "qwen.qwen3.5-max"),
        ("zai.glm-4.7", "zai.glm-4.7"),
        ("arn:aws:bedrock:us-east-1::foundation-model/meta.llama4-scout-v1:0", "meta.llama4-scout-v1:0"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.meta.llama4-scout-v1:0", "meta.llama4-scout-v1:0"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", "abc123"),
    ],
)
def test_the_model_behind_an_id_is_found_without_a_list_of_regions(model: str, base: str) -> None:
    assert get_base_model(model) == base


def profile(name: str, model: str, *regions: str, **fields: Any) -> dict[str, Any]:
    arns = [{"modelArn": f"arn:aws:bedrock:{region}::foundation-model/{model}"} for region in regions]
    return {"inferenceProfileId": name, "models": arns, "status": "ACTIVE", "type": "SYSTEM_DEFINED"} | fields


OPUS = "anthropic.claude-opus-5-5"
PROFILES = {
    "inferenceProfileSummaries": [
        profile("mine", OPUS, "eu-west-1", type="APPLICATION"),
        profile("global.anthropic.claude-opus-5-5", OPUS, "eu-west-1", ""),
        profile("us.anthropic.claude-opus-5-5", OPUS, "us-east-1", "us-west-2"),
        profile("eu.anthropic.claude-opus-5-5", OPUS, "eu-west-1", "eu-central-1"),
        profile("eu.anthropic.claude-opus-5-50", "anthropic.claude-opus-5-50", "eu-west-1"),
        profile("us.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0", "us-east-1"),
        profile("global.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0", ""),
        profile("mine-alone", "meta.llama4-scout-v1:0", "eu-west-1", type="APPLICATION"),
        profile("us.sleeping", "zai.glm-5", "eu-west-1", status="CREATING"),
    ]
}


@pytest.mark.parametrize(
    ("model", "region", "expected"),
    [
        (OPUS, "eu-west-1", "eu.anthropic.claude-opus-5-5"),
        (OPUS, "us-west-2", "us.anthropic.claude-opus-5-5"),
        ("us.anthropic.claude-opus-5-5", "eu-west-1", "eu.anthropic.claude-opus-5-5"),
        ("amazon.nova-pro-v1:0", "eu-west-1", "us.amazon.nova-pro-v1:0"),
        ("meta.llama4-scout-v1:0", "eu-west-1", "mine-alone"),
        ("zai.glm-5", "eu-west-1", None),
        ("anthropic.claude", "eu-west-1", None),
    ],
)
def test_the_profile_of_the_region_is_picked(model: str, region: str, expected: str | None) -> None:
    assert pick_profile(PROFILES, model, region) == expected


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"inferenceProfileSummaries": None},
        {"inferenceProfileSummaries": [None, {}, {"inferenceProfileId": None, "models": [None, {"modelArn": 1}]}]},
        {"inferenceProfileSummaries": [{"inferenceProfileId": "x", "models": [{"modelArn": "anthropic.claude"}]}]},
    ],
)
def test_a_malformed_list_of_profiles_has_none(document: object) -> None:
    assert pick_profile(document, "anthropic.claude", "us-east-1") is None
