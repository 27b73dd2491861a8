"""The parameters of `compare` → one chat for each branch. [pure]

Knows which options a branch cannot have. Must not know how branches run, or which answer is chosen.
"""

from decimal import Decimal

import msgspec

from protocol.options import Options
from protocol.requests import BranchModel, Chat, Compare
from sidecar.core.errors import invalid_request
from sidecar.tasks.task import overlay_options

ENDING_EARLY = ("first_valid", "vote")
"""The ways of choosing that may be certain before all branches have ended."""


class Branch(msgspec.Struct, frozen=True):
    """One model and what it is asked."""

    number: int
    provider: str | None
    chat: Chat

    def __repr__(self) -> str:
        # The chat may hold a key.
        return f"Branch(number={self.number})"


def plan_branches(provider: str | None, params: Compare) -> list[Branch]:
    """Return the branches of a request whose `provider` counts for models that name none.

    Raises: SidecarError `invalid_request` for an option that no branch can have.
    """
    _check_choice(params)
    _check_options(params.options, "params.options")
    branches = [
        Branch(number, model.provider or provider, make_chat(params, model))
        for number, model in enumerate(map(_read_model, params.models))
    ]
    if params.choose.judge is not None:
        _check_options(params.choose.judge.options, "params.choose.judge.options")
    for branch in branches:
        _check_options(branch.chat.options, f"params.models[{branch.number}].options")
    return branches


def make_chat(params: Compare, model: BranchModel) -> Chat:
    """Return the chat of one branch, with the request's options and its own."""
    return Chat(
        model=model.model,
        messages=params.messages,
        task=params.task,
        options=overlay_options(params.options, model.options),
        api_key=model.api_key,
        base_url=model.base_url,
        settings=model.settings,
    )


def read_budget(params: Compare) -> Decimal | None:
    """Return the US dollars that all branches may cost together; None: no limit."""
    return None if params.budget_usd is None else Decimal(str(params.budget_usd))


def _read_model(model: str | BranchModel) -> BranchModel:
    return BranchModel(model=model) if isinstance(model, str) else model


def _check_choice(params: Compare) -> None:
    choose = params.choose
    if choose.by == "judge" and choose.judge is None:
        raise invalid_request("`params.choose.judge` is required: it names the model to ask.", "params.choose.judge")
    if choose.by != "judge" and choose.judge is not None:
        text = '`params.choose.judge` is used only with `"by": "judge"`. Leave it out, or set `by`.'
        raise invalid_request(text, "params.choose.judge")
    if choose.cancel_rest and choose.by not in ENDING_EARLY:
        names = " or ".join(f"`{name}`" for name in ENDING_EARLY)
        text = f"`params.choose.cancel_rest` needs {names}: the others compare all answers. Leave it out."
        raise invalid_request(text, "params.choose.cancel_rest")


def _check_options(options: Options, path: str) -> None:
    """Refuse options that need the host in the middle of an answer.

    Raises: SidecarError `invalid_request`.
    """
    if options.tool_loop is not None:
        text = "A branch cannot wait for the results of tools. Leave `tool_loop` out, or use `stream_chat`."
        raise invalid_request(text, f"{path}.tool_loop")
