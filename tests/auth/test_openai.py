"""What of OpenAI's SDK a workload's identity relies on."""

import openai.auth


def test_no_source_of_a_workloads_token_starts_a_program() -> None:
    """A source that is new here has to be looked at before it may be named."""
    suffix = "_token_provider"
    found = {name.removesuffix(suffix) for name in openai.auth.__all__ if name.endswith(suffix)}
    assert found == {"k8s_service_account", "azure_managed_identity", "gcp_id"}
