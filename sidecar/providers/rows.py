"""Providers as they are set up: the built-in rows with the user's changes, and the user's own providers. [pure]"""

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.catalogue import provider_rows
from sidecar.catalogue.embedding_columns import EmbeddingRow
from sidecar.catalogue.provider_columns import (
    AddressColumns,
    AuthColumns,
    CompletionColumns,
    CounterRow,
    DeviceLogin,
)
from sidecar.catalogue.provider_rows import ProviderRow
from sidecar.catalogue.rerank_columns import RerankRow
from sidecar.providers import credentials
from sidecar.providers.setup import Setup
from sidecar.providers.values import Provider
from sidecar.wires.shared.types import Quirks


def list_providers(setup: Setup) -> dict[str, Provider]:
    """Return every provider by id."""
    return {name: get_provider(setup, name) for name in {**provider_rows.read_providers(), **setup.config.providers}}


def get_provider(setup: Setup, provider_id: str) -> Provider:
    """Return the provider with the id *provider_id*, which is known."""
    row = provider_rows.read_providers().get(provider_id)
    table = setup.config.providers.get(provider_id)
    if table is not None:
        row = _correct(row or _own_row(provider_id, table), table)
    if row is None:
        raise KeyError(provider_id)
    provider = Provider(provider_id, row, setup)
    if not row.auth.optional and credentials.has_identity(provider):
        auth = msgspec.structs.replace(row.auth, optional=True)
        return Provider(provider_id, msgspec.structs.replace(row, auth=auth), setup)
    return provider


def _own_row(name: str, table: Mapping[str, Any]) -> ProviderRow:
    """Return the row of the user's own provider, a server of unknown make.

    Its streams may end without `[DONE]`, it may need no key, and of the fields for the output limit it may know only
    the oldest. Its models are sent what they are not known to refuse, and it may count tokens as its API has it.
    """
    return ProviderRow(
        name=name,
        wire="",
        address=AddressColumns(base_url=table.get("base_url", ""), private_network=True),
        auth=AuthColumns(optional=True),
        counters={wire: CounterRow(name=wire, unsupported_codes=_NO_COUNTER) for wire in _COUNTED_WIRES},
        embeddings=(EmbeddingRow(),),
        rerank=(RerankRow(),),
        quirks=Quirks(done_marker=False, max_tokens_field="max_tokens", unknown_sampling=True),
        completion=CompletionColumns(wire="openai_completions", methods=("template", "fim", "chat")),
    )


_COUNTED_WIRES = ("anthropic_messages", "openai_responses")
_NO_COUNTER = ["invalid_request", "model_not_found"]
"""What servers answer that do not count."""


def _correct(row: ProviderRow, table: Mapping[str, Any]) -> ProviderRow:
    models = msgspec.structs.replace(row.models, wire_rules=[]) if "wire" in table else row.models
    return msgspec.structs.replace(
        row,
        name=table.get("name", row.name),
        wire=table.get("wire", row.wire),
        auth=_correct_auth(row.auth, table),
        models=models,
        quirks=msgspec.convert(msgspec.to_builtins(row.quirks) | table.get("quirks", {}), Quirks),
        headers=row.headers | table.get("headers", {}),
        embeddings=(msgspec.convert(table["embeddings"], EmbeddingRow),) if "embeddings" in table else row.embeddings,
        rerank=(msgspec.convert(table["rerank"], RerankRow),) if "rerank" in table else row.rerank,
        completion=_correct_completion(row.completion, table.get("completion", {})),
    )


def _correct_completion(columns: CompletionColumns, table: Mapping[str, Any]) -> CompletionColumns:
    if not table:
        return columns
    return msgspec.convert(msgspec.to_builtins(columns) | table, CompletionColumns)


def _correct_auth(auth: AuthColumns, table: Mapping[str, Any]) -> AuthColumns:
    return msgspec.structs.replace(
        auth,
        header=table.get("auth_header", auth.header),
        optional=table.get("auth_optional", auth.optional),
        login=_correct_login(auth.login, table) if auth.login else None,
    )


def _correct_login(login: DeviceLogin, table: Mapping[str, Any]) -> DeviceLogin:
    changed = {"client_id": table.get("login_client_id", login.client_id)}
    if url := table.get("login_base_url"):
        # The one server replaces both.
        changed |= {"base_url": url, "api_base_url": url}
    return msgspec.structs.replace(login, **changed)
