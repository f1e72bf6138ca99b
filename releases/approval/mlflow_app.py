"""Takes approvals in MLflow: by the server's own authentication, and a tag that only reviewers can set.

An app plug-in of the MLflow server (`mlflow server --app-name caravan-auth`). A tag has no author, so a bare one
approves nothing; this app knows who is signed in. It takes the tag `caravan.approval` of a model version, with a value

    approve <12 or more digits of the digest> <reason>        or        reject <digest> <reason>

as that person's answer (`releases.approval.approval`), and writes the tag only if the answer was taken. The ledger
says which release a version is. All other ways to that tag are closed. Every other request goes on to MLflow's
basic-auth.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from artifacts.ledger import Ledger
from artifacts.registry import DIGEST_TAG, model_name
from contracts.errors import CaravanError, Conflict, DataError, NotApproved, NotFound, StackError, StoreUnavailable
from contracts.settings import settings
from releases.approval import approval
from releases.approval.approval import ApprovalAnswer, ApprovalOutcome, Rules
from releases.approval.mlflow_view import train_first

if TYPE_CHECKING:
    from flask import Flask, Response

TAG = "caravan.approval"
FORM = f"write: approve, or reject, then {approval.SHORTEST_DIGEST} or more digits of the digest, then the reason"
VALUE = re.compile(r"\s*(approve|reject)\s+(\S+)(.*)", re.DOTALL | re.IGNORECASE)
_MODEL = model_name("")


def create_app(app: Flask | None = None) -> Any:
    """Put the door of approval before MLflow's basic-auth app. MLflow calls this once per server process."""
    import mlflow.server
    from mlflow.server.auth import create_app as create_basic_auth

    app = app or mlflow.server.app
    if missing := sorted(set(_DOORS) - set(app.view_functions)):
        raise StackError(f"this MLflow does not know {', '.join(missing)}", remedy="use the version that is pinned")
    # after MLflow's checks of host and origin, before its authentication, which would refuse who cannot edit models
    app.before_request(guard)
    train_first(app)
    return create_basic_auth(app)


def guard() -> Response | None:
    """Answer a request that is about our tag; None lets it go on to MLflow."""
    from flask import request
    from mlflow.exceptions import MlflowException

    door = _DOORS.get(request.endpoint or "")
    if door is None:
        return None
    try:
        person = _signed_in()
        return door(person) if isinstance(person, str) else person
    except (MlflowException, SQLAlchemyError) as error:
        if isinstance(error, MlflowException) and error.get_http_status_code() != 503:
            return _json(error.get_http_status_code(), error.error_code, error.message)
        what = "the database does not answer; nothing was taken"
        return _refusal(StoreUnavailable(what, remedy="`caravan status` shows it; then try again"))
    except CaravanError as error:
        return _refusal(error)


@dataclass(frozen=True, kw_only=True)
class _Release:
    """What a model version stands for, as the ledger has it."""

    source: str
    digest: str


def _set_tag(person: str) -> Response | None:
    from mlflow.protos.model_registry_pb2 import SetModelVersionTag

    message = _message(SetModelVersionTag())
    if not _ours(message.key):
        return None
    release = _release(message.name, message.version)
    said = VALUE.fullmatch(message.value)
    verb, named, reason = said.groups() if said else ("", "", message.value)
    given = ApprovalAnswer(
        source=release.source, digest=release.digest, named=named, person=person, door="mlflow",
        approves=verb.lower() == "approve", reason=reason,
    )  # fmt: skip
    ledger, rules = _ledger(), Rules.of(settings())
    if person in rules.reviewers and (not said or message.key != TAG):
        why = "a bare tag is no answer" if not said else f"the tag is written {TAG}"
        approval.refuse(ledger, given, why)
        raise DataError(f"not taken: {why}", remedy=FORM)
    _same_in_registry(ledger, given, message.name, message.version)
    outcome = approval.answer(ledger, rules, given)
    _write(message.name, message.version, _told(given, outcome))
    return _json(200)


def _delete_tag(person: str) -> Response | None:
    from mlflow.protos.model_registry_pb2 import DeleteModelVersionTag

    message = _message(DeleteModelVersionTag())
    if not _ours(message.key):
        return None
    return _smuggled(person, _release(message.name, message.version), f"a request to delete the tag {TAG}")


def _create_version(person: str) -> Response | None:
    from mlflow.protos.model_registry_pb2 import CreateModelVersion

    message = _message(CreateModelVersion())
    if not any(_ours(tag.key) for tag in message.tags):
        return None
    digest = next((tag.value for tag in message.tags if tag.key == DIGEST_TAG), "")
    source = message.name.removeprefix(_MODEL)
    known = message.name.startswith(_MODEL) and _ledger().history(source, digest)
    release = _Release(source=source, digest=digest) if known else None
    return _smuggled(person, release, f"a request to create a version with the tag {TAG}")


def _tag_model(person: str) -> Response | None:
    from flask import request
    from mlflow.protos.model_registry_pb2 import CreateRegisteredModel, SetRegisteredModelTag

    if request.endpoint == "_create_registered_model":
        keys = [tag.key for tag in _message(CreateRegisteredModel()).tags]
    else:
        keys = [_message(SetRegisteredModelTag()).key]
    if not any(_ours(key) for key in keys):
        return None
    return _smuggled(person, None, f"{TAG} is no tag of a whole model")


#: MLflow's handlers through which that tag could come, whichever path or prefix leads to them.
_DOORS: dict[str, Callable[[str], Response | None]] = {
    "_set_model_version_tag": _set_tag,
    "_delete_model_version_tag": _delete_tag,
    "_create_model_version": _create_version,
    "_set_registered_model_tag": _tag_model,
    "_create_registered_model": _tag_model,
}


def _smuggled(person: str, release: _Release | None, why: str) -> Response:
    if release is not None:
        given = ApprovalAnswer(
            source=release.source, digest=release.digest, named="", person=person, door="mlflow", approves=False,
            reason="",
        )  # fmt: skip
        approval.refuse(_ledger(), given, why)
    raise NotApproved(f"not taken: {why}", remedy=f"set the tag {TAG} on the version; {FORM}")


def _signed_in() -> str | Response:
    """Return the name of the person, or MLflow's own answer to one it does not know."""
    from flask import Response, request
    from mlflow.server import auth

    given = request.authorization
    words = (given.username, given.password) if given is not None and given.type == "basic" else (None,)
    if not all(word and _storable(word) for word in words):
        refusal: Response = auth.make_basic_auth_response()
        return refusal
    found = auth.authenticate_request()
    return found if isinstance(found, Response) else str(found.username)


def _message(empty: Any) -> Any:
    """Read the request as MLflow's own handler would. Raises DataError for a body that the handler would fail on."""
    from flask import request
    from mlflow.exceptions import MlflowException
    from mlflow.server.handlers import _get_request_message

    try:
        body = request.get_json(force=True, silent=True)
        body = json.loads(body) if isinstance(body, str) else body  # as old clients send it
        if isinstance(body, dict) and _storable(json.dumps(body, ensure_ascii=False)):
            return _get_request_message(empty)
    except MlflowException:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise DataError("the request cannot be read", remedy="send one JSON object of texts that can be stored")


def _storable(text: str) -> bool:
    """Say whether PostgreSQL can take it: no NUL, not even one that JSON has escaped, and no half surrogate pair."""
    return not re.search("\0|\\\\u0000|[\ud800-\udfff]", text)


def _ours(key: str) -> bool:
    return key.strip().casefold() == TAG


def _release(name: str, version: str) -> _Release:
    """Find the release that this version is, by the ledger. Raises NotFound if there is none."""
    digests: list[str] = []
    if name.startswith(_MODEL) and re.fullmatch(r"[1-9][0-9]{0,8}", version, re.ASCII):
        for move in _ledger().history(name.removeprefix(_MODEL)):
            if move.version == int(version) and move.digest not in digests:
                digests.append(move.digest)
    if not digests:
        raise NotFound(
            f"the ledger knows no release for version {version[:20]} of {name[:80]}",
            remedy="`caravan release list` shows all",
        )
    return _Release(source=name.removeprefix(_MODEL), digest=digests[-1])  # a number can come again after a deletion


def _same_in_registry(ledger: Ledger, given: ApprovalAnswer, name: str, version: str) -> None:
    """Refuse if the registry shows another digest than the ledger has; a version that is not there is an error."""
    from mlflow.server.handlers import _get_model_registry_store

    shown = _get_model_registry_store().get_model_version(name, version).tags.get(DIGEST_TAG)
    if shown != given.digest:
        why = f"the registry shows the digest {(shown or 'none')[:12]}, the ledger has {given.digest[:12]}"
        approval.refuse(ledger, given, why)
        raise NotApproved(f"not taken: {why}", remedy="the registry was changed; look at `caravan release show`")


def _told(given: ApprovalAnswer, outcome: ApprovalOutcome) -> str:
    what = "approved" if given.approves else "rejected"
    more = f"; {outcome.missing} more must approve" if outcome.missing else ""
    return f"{what} {given.digest[:12]} by {given.person}: {' '.join(given.reason.split())[:500]}{more}"


def _write(name: str, version: str, value: str) -> None:
    """Show in the UI what was taken. Only the ledger counts, so a failure here takes nothing back."""
    from mlflow.entities.model_registry import ModelVersionTag
    from mlflow.exceptions import MlflowException
    from mlflow.server.handlers import _get_model_registry_store

    try:
        _get_model_registry_store().set_model_version_tag(name, version, ModelVersionTag(TAG, value))
    except (MlflowException, SQLAlchemyError):
        raise StoreUnavailable(
            f"your answer counts ({value}), but MLflow could not write the tag that shows it",
            remedy="nothing is left to do; `caravan release show` has it",
        ) from None


@cache
def _ledger() -> Ledger:
    return Ledger.of(settings())


def _refusal(error: CaravanError) -> Response:
    kinds: list[tuple[type[CaravanError], int, str]] = [
        (NotApproved, 403, "PERMISSION_DENIED"),
        (NotFound, 404, "RESOURCE_DOES_NOT_EXIST"),
        (Conflict, 409, "RESOURCE_CONFLICT"),
        (StoreUnavailable, 503, "TEMPORARILY_UNAVAILABLE"),
        (DataError, 400, "INVALID_PARAMETER_VALUE"),
    ]
    status, code = next(((s, c) for kind, s, c in kinds if isinstance(error, kind)), (500, "INTERNAL_ERROR"))
    return _json(status, code, str(error))


def _json(status: int, code: str = "", message: str = "") -> Response:
    from flask import Response

    body = {"error_code": code, "message": message} if code else {}
    return Response(json.dumps(body), status=status, mimetype="application/json")
