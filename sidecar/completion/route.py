"""Where a completion is sent: the target of a provider's chats, with the address of its completions. [pure]"""

import msgspec

from sidecar.core.errors import SidecarError
from sidecar.providers import addresses
from sidecar.providers.templates import fill
from sidecar.providers.values import Target
from sidecar.wires.completions.registry import COMPLETION_WIRES
from sidecar.wires.shared.types import Route

FROM_MODEL = "from_model"


def make_route(target: Target) -> Route:
    """Return the route of a completion at *target*.

    Raises: SidecarError `model_not_found` if the model's name should begin with a wire and does not.
    """
    columns, route = target.row.completion, target.route
    wire, model = columns.wire, route.model
    if wire == FROM_MODEL:
        case = columns.cases.get(model)
        wire, _, model = (case.exchange if case else model).partition("/")
        if wire not in COMPLETION_WIRES:
            text = "There is no such exchange to replay; `list_models` lists them."
            raise SidecarError("model_not_found", text, param="params.model")
    route = msgspec.structs.replace(route, wire=wire, model=model, headers=route.headers | columns.headers)
    return msgspec.structs.replace(route, base_url=_find_base_url(target), path=_find_path(target, route))


def _find_base_url(target: Target) -> str:
    columns, base_url = target.row.completion, target.route.base_url
    if columns.base_url is not None and not target.has_custom_address:
        return fill(columns.base_url, target.route.provider, target.row, target.route.settings)
    for ending in columns.replaces:
        base_url = base_url.removesuffix(ending)
    scheme, mark, rest = base_url.partition("://")
    for chats, completions in columns.hosts.items():
        if rest.startswith(chats):
            return f"{scheme}{mark}{completions}{rest[len(chats) :]}"
    return base_url


def _find_path(target: Target, route: Route) -> str | None:
    has_key = target.credential is not None and target.credential.kind == "key"
    if path := addresses.find_path(target.row, route, has_key=has_key):
        return path
    template = target.row.completion.path
    given = route.settings | {"model": route.model}
    return None if template is None else fill(template, route.provider, target.row, given)
