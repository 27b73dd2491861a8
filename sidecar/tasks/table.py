"""The tasks of a process: the rows, the configuration and the settings of `set_task` together."""

import msgspec

from protocol.replies import Warn
from protocol.tasks import SetTask, TaskChange, TaskList
from sidecar.config import task_rows
from sidecar.config.values import Config
from sidecar.core.errors import SidecarError, invalid_request
from sidecar.providers.model_names import split_model
from sidecar.routing.choice import AUTO
from sidecar.tasks.describe import describe
from sidecar.tasks.overrides import Override, Overrides
from sidecar.tasks.task import Task, make_task


class TaskTable:
    """All tasks of one process."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._overrides = Overrides(config.store_dir)

    @property
    def warnings(self) -> list[Warn]:
        """The problems with the file of settings."""
        return self._overrides.warnings

    async def find(self, name: str) -> Task:
        """Return the task *name*.

        Raises: SidecarError `invalid_request` if there is none.
        """
        self._check_name(name)
        return make_task(self._config, name, (await self._overrides.load()).get(name))

    async def list_all(self) -> TaskList:
        """Return the result of `list_tasks`."""
        overrides = await self._overrides.load()
        tasks = [describe(make_task(self._config, name, overrides.get(name))) for name in self._list_names()]
        return TaskList(tasks=tasks, warnings=self.warnings)

    async def change(self, params: SetTask) -> TaskChange:
        """Change the settings of a task, and return the result of `set_task`.

        Raises: SidecarError `invalid_request` for an unknown task or provider.
        """
        self._check_name(params.task)
        _check_models(self._config, params)

        def change(before: Override) -> Override:
            kept = Override() if params.reset else before
            options = kept.options if params.options is None else msgspec.to_builtins(params.options)
            # The fallbacks are stored beside the options.
            fallbacks = params.fallbacks if params.fallbacks is not None else options.pop("fallbacks", kept.fallbacks)
            return Override(model=params.model or kept.model, fallbacks=fallbacks, options=options)

        not_kept = await self._overrides.change(params.task, change)
        task = describe(await self.find(params.task))
        return TaskChange(
            task=task, storage="memory" if not_kept else "file", warnings=[*not_kept, *self._overrides.warnings]
        )

    def _list_names(self) -> list[str]:
        return sorted({*task_rows.read_built_in(), *self._config.tasks})

    def _check_name(self, name: str) -> None:
        names = self._list_names()
        if name not in names:
            from difflib import get_close_matches  # Only a failure needs it.

            close = get_close_matches(name, names, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else "`list_tasks` lists them."
            raise invalid_request("There is no such task.", "params.task").with_fields(hint=hint)


def _check_models(config: Config, params: SetTask) -> None:
    fallbacks = params.fallbacks or []
    for param, model in (("model", params.model), *((f"fallbacks[{at}]", each) for at, each in enumerate(fallbacks))):
        if model is None or model in config.models or (model == AUTO and param == "model"):
            continue
        try:
            split_model(config, None, model)
        except SidecarError as error:
            raise error.with_fields(param=f"params.{param}") from None
