"""Checks closure: whatever a row or a pointer names is in the snapshot.

That means every file of it, and its signature where it must be signed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from artifacts.manifest import Manifest
from artifacts.publish import blob_key, manifest_key
from artifacts.signature import signature_key
from contracts.errors import NotWhole, Tampered
from recovery.shipping.objects import Inventory
from recovery.vault.manifest import Entry
from recovery.vault.vault import Vault, part_of

_READS = 16


def pointers(vault: Vault, inventory: Inventory, bucket: str) -> dict[str, str]:
    """Return the digest that each pointer (`refs/...`) names, read from the vault. Raises NotFound or Tampered."""
    found = [e for e in inventory.values() if e.bucket == bucket and e.key.startswith("refs/")]
    with ThreadPoolExecutor(_READS) as pool:
        return dict(pool.map(lambda entry: (entry.key, _digest(vault, entry)), found))


def missing(
    vault: Vault,
    inventory: Inventory,
    bucket: str,
    *,
    releases: Collection[str],
    signed: Collection[str],
) -> list[str]:
    """Return what is missing, one sentence each; empty when the snapshot is closed."""
    wrong = []
    roots: dict[str, str] = {digest: f"release {digest[:12]}, which a row names," for digest in releases}
    for key, digest in pointers(vault, inventory, bucket).items():
        roots.setdefault(digest, f"{digest[:12]}, which {key} names,")
    for digest, who in sorted(roots.items()):
        if (bucket, manifest_key(digest)) not in inventory:
            wrong.append(f"{who} has no manifest")
    # every manifest there is, whether somebody names it now or not: an older moment may have
    manifests = [e for e in inventory.values() if e.bucket == bucket and e.key.startswith("manifests/")]
    with ThreadPoolExecutor(_READS) as pool:
        for manifest in pool.map(lambda entry: Manifest.from_bytes(vault.read(part_of(entry))), manifests):
            wrong += _lacking(manifest, inventory, bucket)
    wrong += [
        f"release {digest[:12]} has no signature"
        for digest in sorted(signed)
        if (bucket, signature_key(digest)) not in inventory
    ]
    return wrong


def demand(sentences: Iterable[str]) -> None:
    """Raise NotWhole when there is any sentence."""
    said = list(sentences)
    if said:
        more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
        raise NotWhole(
            f"{'; '.join(said[:3])}{more}",
            remedy="the last snapshot stays the newest; publish what is missing again, then `caravan snapshot create`",
        )


def _lacking(manifest: Manifest, inventory: Inventory, bucket: str) -> list[str]:
    wrong = []
    for file in manifest.files:
        entry = inventory.get((bucket, blob_key(file.sha256)))
        if entry is None or entry.size != file.size:
            wrong.append(f"{file.path} of {manifest.kind} {manifest.digest[:12]} is missing")
    return wrong


def _digest(vault: Vault, entry: Entry) -> str:
    try:
        return str(json.loads(vault.read(part_of(entry)))["digest"])
    except (ValueError, KeyError, TypeError):
        raise Tampered(
            f"the pointer {entry.key} cannot be read", remedy="move it again, then take the snapshot"
        ) from None
