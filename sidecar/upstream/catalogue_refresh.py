"""The refreshed catalogue: fetched when a request asks for it, stored on disk, loaded when first needed.

Knows when it is fetched and how long that may take. Must not know its format (`catalogue/modelsdev.py`) or its file
(`catalogue/refresh_file.py`). Only `refresh` uses the network.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.model_streams import ModelsListed
from protocol.replies import ModelList, Warn
from sidecar.auth.exchange import Answer, Question
from sidecar.catalogue import models, provider_rows
from sidecar.catalogue.corrections import Refreshed
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.log import log
from sidecar.upstream.context import Upstream
from sidecar.upstream.gates.lookup import read_max_attempts
from sidecar.wires.shared.error_rules import ReportedError, classify_error

if TYPE_CHECKING:
    from sidecar.catalogue.modelsdev import StoredCatalogue

TIMEOUTS = HttpTimeouts(first_byte_seconds=15.0, idle_seconds=15.0)

TOTAL_SECONDS = 60.0
"""How long a refresh may take, further attempts included."""

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""Several times what there is."""

OK = 200

_Listed = TypeVar("_Listed", ModelList, ModelsListed)


async def load_stored(up: Upstream) -> None:
    """Load the stored catalogue into `up.found`. The file is read once, in a worker thread."""
    if up.catalogue_warnings is None:
        await up.single_flight.run_once("stored catalogue", lambda: _load_stored(up))


async def _load_stored(up: Upstream) -> None:
    warnings = []
    if up.config.cache_dir is not None:
        try:
            stored = await to_thread(_read, Path(up.config.cache_dir), abandon_on_cancel=True)
        except (OSError, ValueError) as error:
            log("warn", "catalogue.unusable", type=type(error).__name__)
            text = f"The stored catalogue is not used: {_describe_failure(error)}."
            warnings = [Warn(code="catalogue_unusable", message=text)]
            up.warn(warnings[0])
        else:
            if stored is not None and _is_current(stored):
                _use(up, stored)
    up.catalogue_warnings = warnings


def _is_current(stored: "StoredCatalogue") -> bool:
    """Return whether *stored* is at least as new as our own table, and not from the future.

    A date that a wrong clock has put into the future would never become old.
    """
    fetched_on = date.fromisoformat(stored.fetched_at[:10])
    return models.MADE_ON <= fetched_on <= datetime.now(UTC).date() + timedelta(days=1)


def _read(folder: Path) -> "StoredCatalogue | None":
    from sidecar.catalogue import refresh_file

    data = refresh_file.read(folder)
    if data is None:
        return None
    from sidecar.catalogue import modelsdev  # Only users who have refreshed the catalogue pay for this import.

    return modelsdev.read(data)


def _use(up: Upstream, stored: "StoredCatalogue") -> None:
    up.found = msgspec.structs.replace(up.found, refreshed=Refreshed(stored.models, stored.fetched_at))


def _describe_failure(error: OSError | ValueError) -> str:
    return (error.strerror or "the file system failed") if isinstance(error, OSError) else str(error)


async def refresh(up: Upstream) -> list[Warn]:
    """Fetch the catalogue, once for all requests that ask meanwhile, and return warnings.

    After a failure the catalogue stays as it was.
    """
    await load_stored(up)
    try:
        await up.single_flight.run_once("catalogue", lambda: _refresh(up))
    except SidecarError as error:
        text = f"The catalogue could not be refreshed: {error.body.message}"
        return [Warn(code="catalogue_not_refreshed", message=text)]
    return []


async def _refresh(up: Upstream) -> None:
    """Fetch the catalogue, use it and store it.

    Raises: SidecarError.
    """
    try:
        with anyio.fail_after(TOTAL_SECONDS):
            answer = await up.exchange(_make_question(up))
    except TimeoutError:
        raise SidecarError("timeout", f"It took longer than {TOTAL_SECONDS:.0f} s.") from None
    try:
        data, stored = await to_thread(_convert, answer.body)
    except ValueError as error:
        raise SidecarError("provider_error", f"The document cannot be used: {error}.") from None
    _use(up, stored)
    up.catalogue_warnings = await _store(up, data)


def _make_question(up: Upstream) -> Question:
    # The request holds nothing of the user's: no credential, no cookie, no word of what was asked.
    return Question(
        request=HttpRequest(method="GET", url=up.config.refresh_url, headers={"accept": "application/json"}),
        timeouts=TIMEOUTS,
        classify=_classify,
        max_attempts=read_max_attempts(up.config.limits, None),
        limit_bytes=MAX_DOCUMENT_BYTES,
    )


def _classify(answer: Answer) -> SidecarError | None:
    if answer.status == OK:
        return None
    reported = ReportedError(message=f"The server answered with status {answer.status}.")
    return classify_error(reported, answer.status, answer.headers, {})


def _convert(document: bytes) -> tuple[bytes, "StoredCatalogue"]:
    from sidecar.catalogue import modelsdev

    rows = provider_rows.read_providers()
    ids = {name: row.models.models_dev_ids for name, row in rows.items() if row.models.models_dev_ids}
    data = modelsdev.convert(document, datetime.now(UTC).isoformat(timespec="seconds"), ids)
    return data, modelsdev.read(data)


async def _store(up: Upstream, data: bytes) -> list[Warn]:
    """Write *data* to the file that later processes load, and return warnings."""
    if up.config.cache_dir is None:
        return []
    from sidecar.catalogue import refresh_file

    try:
        await to_thread(refresh_file.write, Path(up.config.cache_dir), data, abandon_on_cancel=True)
    except (OSError, ValueError) as error:
        log("warn", "catalogue.not_stored", type=type(error).__name__)
        text = f"The refreshed catalogue could not be stored: {_describe_failure(error)}."
        return [Warn(code="catalogue_not_kept", message=text)]
    return []


def add_to_list(up: Upstream, listed: _Listed, warnings: list[Warn]) -> _Listed:
    """Return *listed*, for one provider or all, with the age of the catalogue and the *warnings* of a refresh."""
    return msgspec.structs.replace(
        listed,
        catalogue_refreshed_at=up.found.refreshed.fetched_at or msgspec.UNSET,
        warnings=[*listed.warnings, *(up.catalogue_warnings or ()), *warnings],
    )
