"""Defines the one error tree. Every error that reaches a person names the thing and the remedy.

CaravanError
├── SettingsError            a setting or a secret is missing or out of range
├── StackError               a local service did not start, stop or answer
│   └── PortTaken            another process listens where one of our services should
├── DataError                what came in cannot be used
│   ├── UnreadableFile       a file is truncated, of an unknown format, or lacks a required column
│   ├── SchemaChanged        a partition has lost or retyped a column
│   ├── EmptyPartition       a day without a single usable row
│   │   └── NothingLanded    no data of this day has been landed yet
│   ├── UnknownItems         a catalog that does not know most of a day's items
│   ├── LargeChange          a day, a catalog or a replacement that is far from what was there
│   └── NotEnoughData        too few rows for the verdict that was asked for
├── ArtifactError            the object store, or what is in it
│   ├── StoreUnavailable     the object store does not answer
│   ├── NotFound             no such object, partition, release or version
│   ├── Conflict             somebody else wrote first
│   └── Tampered             bytes differ from their manifest
├── FeatureError             a feature table or the online store
│   └── StaleFeatures        the newest value is older than its age limit
├── TrainingError            training did not end with a usable model
│   └── TakenOver            another process goes on with this training in this one's place
├── GateRefused              the challenger may not become a release
├── RegistryError            the model registry does not answer or contradicts itself
│   └── ModelRefused         a registered version is not as Caravan registered it
├── ReleaseError             a release may not make this move
│   ├── IllegalMove          the road of a release has no such step
│   ├── NotApproved          no approval, or not enough people, for this very digest
│   └── ChainBroken          the ledger was changed behind its back
├── RecoveryError            a snapshot could not be taken, or a region not be restored
│   ├── NotWhole             something that a row or a pointer names is not in the snapshot
│   ├── NoRecoveryPoint      there is no valid snapshot that reaches the wanted moment
│   ├── RestoreRefused       the target, the keys or the space do not allow this restore
│   └── ErasureUnfinished    a shopper is not gone from every place yet
├── Fenced                   another region may write now; this one may not any more
└── ServingError             a request or a release that the engine cannot serve
    ├── DeadlineExceeded     no answer within the time a shopper waits
    └── ReleaseRefused       a release that failed verification or warm-up
"""

from __future__ import annotations


class CaravanError(Exception):
    """Base of all our errors: `what` happened to which thing, and the `remedy`."""

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} -> {self.remedy}" if self.remedy else self.what


class SettingsError(CaravanError):
    """A setting or a secret is missing or out of range."""


class StackError(CaravanError):
    """A local service did not start, stop or answer."""


class PortTaken(StackError):
    """Another process listens where one of our services should."""


class DataError(CaravanError):
    """What came in cannot be used."""


class UnreadableFile(DataError):
    """A file is truncated, of an unknown format, or lacks a required column."""


class SchemaChanged(DataError):
    """A partition has lost or retyped a column."""


class EmptyPartition(DataError):
    """A day without a single usable row."""


class NothingLanded(EmptyPartition):
    """No data of this day has been landed yet."""


class UnknownItems(DataError):
    """A catalog that does not know most of a day's items: another shop's, as a rule."""


class LargeChange(DataError):
    """A day, a catalog or a replacement that is far from what was there: for a person to let pass."""


class NotEnoughData(DataError):
    """Too few rows for the verdict that was asked for."""


class ArtifactError(CaravanError):
    """The object store, or what is in it."""


class StoreUnavailable(ArtifactError):
    """The object store does not answer."""


class NotFound(ArtifactError):
    """No such object, partition, release or version."""


class Conflict(ArtifactError):
    """Somebody else wrote first."""


class Tampered(ArtifactError):
    """Bytes differ from their manifest."""


class FeatureError(CaravanError):
    """A feature table or the online store."""


class StaleFeatures(FeatureError):
    """The newest value is older than its age limit."""


class TrainingError(CaravanError):
    """Training did not end with a usable model."""


class TakenOver(TrainingError):
    """Another process goes on with this training in this one's place."""


class GateRefused(CaravanError):
    """The challenger may not become a release."""


class RegistryError(CaravanError):
    """The model registry does not answer or contradicts itself."""


class ModelRefused(RegistryError):
    """A registered version is not as Caravan registered it."""


class ReleaseError(CaravanError):
    """A release may not make this move."""


class IllegalMove(ReleaseError):
    """The road of a release has no such step."""


class NotApproved(ReleaseError):
    """No approval, or not enough people, for this very digest."""


class ChainBroken(ReleaseError):
    """The ledger was changed behind its back."""


class RecoveryError(CaravanError):
    """A snapshot could not be taken, or a region not be restored."""


class NotWhole(RecoveryError):
    """Something that a row or a pointer names is not in the snapshot."""


class NoRecoveryPoint(RecoveryError):
    """There is no valid snapshot that reaches the wanted moment."""


class RestoreRefused(RecoveryError):
    """The target, the keys or the space do not allow this restore."""


class ErasureUnfinished(RecoveryError):
    """A shopper is not gone from every place yet."""


class Fenced(CaravanError):
    """Another region may write now; this one may not any more."""


class ServingError(CaravanError):
    """A request or a release that the engine cannot serve."""


class DeadlineExceeded(ServingError):
    """No answer within the time a shopper waits."""


class ReleaseRefused(ServingError):
    """A release that failed verification or warm-up."""
