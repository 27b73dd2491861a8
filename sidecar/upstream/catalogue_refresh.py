"""The catalogue from elsewhere: fetched when a request asks for it, kept on disk, read back when first needed.

Knows when, by whom and how long. Must not know what is in it (`catalogue/modelsdev.py`) or what a file is
(`refresh_file`). Nothing is asked of the network but by `renewed`.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio.to_thread import run_sync as to_thread

from protocol.replies import ModelList, Warn
from sidecar.catalogue import models, provider_rows
from sidecar.catalogue.corrections import Refreshed
from sidecar.core.errors import SidecarError
from sidecar.core.http import HttpRequest, HttpTimeouts
from sidecar.core.http_bodies import read_body
from sidecar.core.log import log
from sidecar.upstream.context import Upstream

if TYPE_CHECKING:
    from sidecar.catalogue.modelsdev import StoredCatalogue

OK = 200

LIMITS = HttpTimeouts(first_byte=15.0, idle=15.0)
TOTAL_SECONDS = 60.0
"""How long a refresh may take in all."""

MAX_BYTES = 32 * 1024 * 1024


async def look(up: Upstream) -> None:
    """Have what was kept of the last refresh among what is found: once, off the loop."""
    if up.catalogue_warnings is None:
        await up.single_flight.run_once("kept catalogue", lambda: _look(up))


async def _look(up: Upstream) -> None:
    warnings = []
    if up.config.cache_dir is not None:
        try:
            kept = await to_thread(_read, Path(up.config.cache_dir), abandon_on_cancel=True)
        except (OSError, ValueError) as error:
            log("warn", "catalogue.unusable", type=type(error).__name__)
            text = f"What was kept of the last refresh of the catalogue is not used: {_why(error)}."
            warnings = [Warn(code="catalogue_unusable", message=text)]
            up.warn(warnings[0])
        else:
            if kept is not None and _counts(kept):
                _lay_over(up, kept)
    up.catalogue_warnings = warnings


def _counts(kept: "StoredCatalogue") -> bool:
    """Return whether *kept* is of a time that counts.

    Our own table may have become the newer one since; and what a wrong clock has dated would never become the older.
    """
    return models.MADE_ON <= date.fromisoformat(kept.fetched_at[:10]) <= datetime.now(UTC).date() + timedelta(days=1)


def _read(folder: Path) -> "StoredCatalogue | None":
    from sidecar.catalogue import refresh_file

    data = refresh_file.read(folder)
    if data is None:
        return None
    from sidecar.catalogue import modelsdev  # Only a user who has refreshed it pays for that.

    return modelsdev.read(data)


def _lay_over(up: Upstream, kept: "StoredCatalogue") -> None:
    up.found = msgspec.structs.replace(up.found, refreshed=Refreshed(kept.models, kept.fetched_at))


def _why(error: OSError | ValueError) -> str:
    return (error.strerror or "it cannot be had") if isinstance(error, OSError) else str(error)


async def renewed(up: Upstream) -> list[Warn]:
    """Fetch the catalogue, once for all who ask meanwhile, and return what did not go well; what was there stays."""
    await look(up)
    try:
        await up.single_flight.run_once("catalogue", lambda: _renew(up))
    except SidecarError as error:
        text = f"The catalogue could not be refreshed: {error.body.message}"
        return [Warn(code="catalogue_not_refreshed", message=text)]
    return []


async def _renew(up: Upstream) -> None:
    """Fetch the catalogue, use it and keep it.

    Raises: SidecarError.
    """
    try:
        with anyio.fail_after(TOTAL_SECONDS):
            document = await _fetched(up)
    except TimeoutError:
        raise SidecarError("timeout", "It did not come in time.") from None
    try:
        data, kept = await to_thread(_converted, document)
    except ValueError as error:
        raise SidecarError("provider_error", f"What came is not used: {error}.") from None
    _lay_over(up, kept)
    up.catalogue_warnings = await _keep(up, data)


async def _fetched(up: Upstream) -> bytes:
    # Nothing of the user's goes there: no credential, no cookie, no word of what was asked.
    request = HttpRequest(method="GET", url=up.config.refresh_url, headers={"accept": "application/json"})
    async with up.http.send(request, {}, LIMITS) as response:
        if response.status != OK:
            raise SidecarError("provider_error", f"Its server answered with status {response.status}.")
        return await read_body(response, MAX_BYTES)


def _converted(document: bytes) -> tuple[bytes, "StoredCatalogue"]:
    from sidecar.catalogue import modelsdev

    rows = provider_rows.read_providers()
    ids = {name: row.models.models_dev_ids for name, row in rows.items() if row.models.models_dev_ids}
    data = modelsdev.convert(document, datetime.now(UTC).isoformat(timespec="seconds"), ids)
    return data, modelsdev.read(data)


async def _keep(up: Upstream, data: bytes) -> list[Warn]:
    """Write *data* where later processes find it, and return what did not go well."""
    if up.config.cache_dir is None:
        return []
    from sidecar.catalogue import refresh_file

    try:
        await to_thread(refresh_file.write, Path(up.config.cache_dir), data, abandon_on_cancel=True)
    except (OSError, ValueError) as error:
        log("warn", "catalogue.not_kept", type=type(error).__name__)
        return [Warn(code="catalogue_not_kept", message=f"The refreshed catalogue could not be kept: {_why(error)}.")]
    return []


def told(up: Upstream, listed: ModelList, warnings: list[Warn]) -> ModelList:
    """Return *listed* with what there is to say of the catalogue."""
    return msgspec.structs.replace(
        listed,
        catalogue_refreshed_at=up.found.refreshed.fetched_at or msgspec.UNSET,
        warnings=[*listed.warnings, *(up.catalogue_warnings or ()), *warnings],
    )
