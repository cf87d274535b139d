"""What the server does by itself: end runs whose process died, tell of failures and promotions.

Each is a file in the folder ``automations``, so that an operator can read it, and create it on a server of their own.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from unetseg.errors import UnetsegError, UsageError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["DEAD_RUNS", "TOLD", "apply", "main", "read", "tell", "tell_no_more"]

DEAD_RUNS = "end_dead_runs"
TOLD = ("tell_failures", "tell_promotions")

_FOLDER = Path(__file__).with_name("automations")
_BLOCK = "unetseg"  # the name of the block that holds the address


def read(name: str) -> dict[str, Any]:
    """One of the files."""
    content: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def apply(client: SyncPrefectClient, name: str, block: str = "") -> None:
    """Create an automation, or bring the one of that name up to date; one that was switched off stays off.

    Args:
        client: of the server.
        name: of the file.
        block: id of the block to notify by.
    """
    from prefect.events.schemas.automations import AutomationCore

    content = read(name)
    for action in content["actions"]:
        if "block_document_id" in action:
            action["block_document_id"] = block
    found = client.read_automations_by_name(content["name"])
    if not found:
        client.create_automation(AutomationCore.model_validate(content))
        return
    kept, *others = found
    client.update_automation(kept.id, AutomationCore.model_validate(content | {"enabled": kept.enabled}))
    for other in others:  # of two commands at the same moment
        client.delete_automation(other.id)


def tell(client: SyncPrefectClient, url: str) -> None:
    """Tell an address of failures and promotions from now on, and of that itself at once.

    It gets ``{"text": ...}`` by POST, which Slack, Mattermost, Rocket.Chat and Teams understand.

    Raises:
        UsageError: not an address.
        UnetsegError: it does not take the message.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise UsageError("URL: must be the address of a webhook, such as https://hooks.slack.com/services/...")
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    block = CustomWebhookNotificationBlock(
        name=_BLOCK,
        url="{{address}}",
        secrets={"address": url},  # who has it can write there
        json_data={"text": "{{subject}}\n{{body}}"},
        allow_private_urls=True,
    )
    try:
        block.notify("Failed runs and new models in production are told here from now on.", subject="unetseg")
    except Exception as error:  # whatever the library below raises
        # Errors name the address, which is a secret; it may be wrong, and still be somebody's.
        raise UnetsegError(f"{urlsplit(url).hostname} does not take messages: {_reason(error)}") from None
    made = str(block.save(_BLOCK, overwrite=True))
    for name in TOLD:
        apply(client, name, made)


def _reason(error: Exception) -> str:
    """Why a message was not taken, without the address."""
    from httpx import HTTPStatusError, TransportError

    if isinstance(error, HTTPStatusError):
        return f"{error.response.status_code} {error.response.reason_phrase}"
    said = str(error) if isinstance(error, TransportError) else ""  # it is the network's, which has no path
    return said or type(error).__name__


def tell_no_more(client: SyncPrefectClient) -> None:
    """Remove what `tell` has made, the address too."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.exceptions import ObjectNotFound

    for name in TOLD:
        for found in client.read_automations_by_name(read(name)["name"]):
            client.delete_automation(found.id)
    with suppress(ObjectNotFound):  # nothing was told
        kind = CustomWebhookNotificationBlock.get_block_type_slug()
        client.delete_block_document(client.read_block_document_by_name(_BLOCK, kind, include_secrets=False).id)


def main() -> None:
    """Bring the automation that ends dead runs up to date, on the server that the user's settings of Prefect name."""
    from deployments.server import client_of_settings

    with client_of_settings() as client:
        apply(client, DEAD_RUNS)


if __name__ == "__main__":
    main()
