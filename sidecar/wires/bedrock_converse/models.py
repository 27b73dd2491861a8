"""The models of Amazon Bedrock: their ids, what their families take, their inference profiles. [pure]

Must not know a request or an answer. Sources: botocore 1.44.5 (`bedrock/2023-04-20/service-2.json`)
and the Bedrock user guide, "Prompt caching" and "Cross-Region inference", read 2026-11.
"""

import re
from fnmatch import fnmatchcase
from typing import NamedTuple

from sidecar.core.json_values import read_object, read_objects

PROFILES_PATH = "/inference-profiles?maxResults=1000"
"""The path of the control plane that lists the inference profiles of the account."""


class Family(NamedTuple):
    """What the models take whose id, without its region, matches `models`."""

    models: str
    cached: tuple[str, ...] = ()
    """Where cache points may stand: `system`, `tools`, `messages`. One elsewhere is an error."""
    tool_status: bool = False
    """A tool result may be marked as an error."""
    thinking: bool = False
    """Reasoning is asked for with Anthropic's own field, `thinking`."""


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
"""The first match counts."""

_UNKNOWN_FAMILY = Family("*")

_REGION = re.compile(r"(?:[a-z]{2,6}(?:-[a-z]+)?)\.(?=[a-z][a-z0-9]*\.[a-z])")
"""The geography of an inference profile's id. New ones appear, so it is recognized by what follows: `maker.model`."""


def get_base_model(model: str) -> str:
    """Return the id of the foundation model in *model*: the id or ARN of a model or of an inference profile.

    The ARN of an application profile or of a provisioned model does not name one; for those, what
    follows the last slash is returned.
    """
    name = model.rpartition("/")[2] if model.startswith("arn:") else model
    region = _REGION.match(name)
    return name[region.end() :] if region else name


def get_family(model: str) -> Family:
    """Return what is known of *model*'s family."""
    base = get_base_model(model)
    return next((family for family in FAMILIES if fnmatchcase(base, family.models)), _UNKNOWN_FAMILY)


def pick_profile(document: object, model: str, region: str) -> str | None:
    """Return the id of the best inference profile for *model* in *document*, the reply at PROFILES_PATH.

    A system profile goes before one of the user's, and one that stays in the geography of *region*
    before one that may go anywhere. None: the model has no profile.
    """
    base = get_base_model(model)
    ranked: list[tuple[bool, bool, bool, str]] = []
    for profile in read_objects(read_object(document).get("inferenceProfileSummaries")):
        profile_id = profile.get("inferenceProfileId")
        targets = read_objects(profile.get("models"))
        arns = [arn for target in targets if isinstance(arn := target.get("modelArn"), str)]
        regions = [arn.split(":")[3] for arn in arns if arn.count(":") >= 5 and get_base_model(arn) == base]
        if isinstance(profile_id, str) and regions and profile.get("status", "ACTIVE") == "ACTIVE":
            is_users = profile.get("type", "SYSTEM_DEFINED") != "SYSTEM_DEFINED"
            is_global = "" in regions or profile_id.startswith("global.")
            ranked.append((is_users, is_global, region not in regions, profile_id))
    return min(ranked)[3] if ranked else None
