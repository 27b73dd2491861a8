"""The models of Amazon Bedrock: their ids, what families of them take, their inference profiles. [pure]

Must not know a request or an answer. Sources: botocore 1.44.5 (`bedrock/2023-04-20/service-2.json`)
and the Bedrock user guide, "Prompt caching" and "Cross-Region inference", read 2026-11.
"""

import re
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

PROFILES_PATH = "/inference-profiles?maxResults=1000"
"""Where the control plane lists the inference profiles that the account can use."""


class Family(NamedTuple):
    """What the models whose id, less its region, matches `models` take."""

    models: str
    cached: tuple[str, ...] = ()
    """Where cache points may stand: `system`, `tools`, `messages`. One elsewhere is an error."""
    tool_status: bool = False
    """A tool's result may be marked as an error."""
    thinking: bool = False
    """Reasoning is asked for with Anthropic's own `thinking`."""


_EVERYWHERE = ("system", "tools", "messages")
FAMILIES: tuple[Family, ...] = (
    Family("*.claude-v2*"),
    Family("*.claude-instant*"),
    Family("*.claude-3-haiku*", tool_status=True),
    Family("*.claude-3-opus*", tool_status=True),
    Family("*.claude-3-sonnet*", tool_status=True),
    Family("*.claude-3-5-sonnet-20240620*", tool_status=True),
    Family("*.claude-3-5-*", cached=_EVERYWHERE, tool_status=True),
    Family("*.claude-*", cached=_EVERYWHERE, tool_status=True, thinking=True),
    Family("*.nova-*", cached=("system", "messages"), tool_status=True),
)
"""The first that matches counts."""

_PLAIN = Family("*")

_REGION = re.compile(r"(?:[a-z]{2,6}(?:-[a-z]+)?)\.(?=[a-z][a-z0-9]*\.[a-z])")
"""The geography of an inference profile's id. New ones appear, so it is known by what follows: `maker.model`."""


def base_model(model: str) -> str:
    """Return the id of the foundation model in *model*, an id or ARN of a model or an inference profile.

    The ARNs of application profiles and of provisioned models do not name one: what follows their last slash is
    returned.
    """
    name = model.rpartition("/")[2] if model.startswith("arn:") else model
    found = _REGION.match(name)
    return name[found.end() :] if found else name


def family(model: str) -> Family:
    """Return what is known of *model*'s family."""
    base = base_model(model)
    return next((each for each in FAMILIES if fnmatchcase(base, each.models)), _PLAIN)


def pick_profile(document: object, model: str, region: str) -> str | None:
    """Return the id of the inference profile in *document*, the reply at PROFILES_PATH, to ask *model* through.

    One that stays in the geography of *region* goes before one that may go anywhere, the provider's own before the
    user's. None: there is none for the model.
    """
    wanted = base_model(model)
    found: list[tuple[bool, bool, bool, str]] = []
    for profile in _objects(document, "inferenceProfileSummaries"):
        name = profile.get("inferenceProfileId")
        arns = [arn for each in _objects(profile, "models") if isinstance(arn := each.get("modelArn"), str)]
        regions = [arn.split(":")[3] for arn in arns if arn.count(":") >= 5 and base_model(arn) == wanted]
        if isinstance(name, str) and regions and profile.get("status", "ACTIVE") == "ACTIVE":
            users = profile.get("type", "SYSTEM_DEFINED") != "SYSTEM_DEFINED"
            anywhere = "" in regions or name.startswith("global.")
            found.append((users, anywhere, region not in regions, name))
    return min(found)[3] if found else None


def _objects(value: object, key: str) -> list[dict[str, Any]]:
    listed = value.get(key) if isinstance(value, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
