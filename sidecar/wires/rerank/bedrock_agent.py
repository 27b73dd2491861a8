"""The operation Rerank of an agent runtime, `POST /rerank`. [pure]

It takes exactly one query, and names the model by its ARN. Its fields have fixed names.
Source: botocore 1.44.5 (`bedrock-agent-runtime/2023-07-26/service-2.json`), read 2026-11.
"""

from sidecar.core.http import HttpRequest
from sidecar.wires.rerank.types import RerankFields, RerankQuestion, make_json_request
from sidecar.wires.shared.types import Route


def encode(question: RerankQuestion, route: Route, fields: RerankFields) -> HttpRequest:  # noqa: ARG001 - an encoder
    """Return the request that asks *question* along *route*."""
    arn = make_arn(route.model, str(route.settings.get("region", "")))
    configuration = {"modelConfiguration": {"modelArn": arn}, "numberOfResults": question.wanted}
    return make_json_request(
        route,
        {
            "queries": [{"type": "TEXT", "textQuery": {"text": question.query}}],
            "sources": [_make_source(document) for document in question.documents],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": configuration,
            },
        },
    )


def _make_source(document: str) -> dict[str, object]:
    inline = {"type": "TEXT", "textDocument": {"text": document}}
    return {"type": "INLINE", "inlineDocumentSource": inline}


def make_arn(model: str, region: str) -> str:
    """Return the ARN of the foundation model *model*, which may be an ARN itself."""
    if model.startswith("arn:"):
        return model
    partition = "aws-cn" if region.startswith("cn-") else "aws"
    return f"arn:{partition}:bedrock:{region}::foundation-model/{model}"
