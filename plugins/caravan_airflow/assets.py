"""Names what each step of the nightly chain makes, so that Airflow's asset page shows the lineage.

One asset stands for one kind of thing over all sources and days; the event that a step emits carries which one
it was: source, day and digest.
"""

from __future__ import annotations

from airflow.sdk import Asset

LANDING = Asset(name="landing", uri="caravan://lake/landing", group="lake")
EVENTS = Asset(name="events", uri="caravan://lake/events", group="lake")
FEATURES = Asset(name="features", uri="caravan://lake/features", group="lake")
ONLINE_FEATURES = Asset(name="online_features", uri="caravan://feature-store/online", group="features")
MODEL = Asset(name="model", uri="caravan://artifacts/model", group="training")
EVALUATION = Asset(name="evaluation", uri="caravan://artifacts/evaluation", group="training")
VERDICT = Asset(name="gate_verdict", uri="caravan://artifacts/gate", group="training")
RELEASE = Asset(name="release", uri="caravan://registry/challenger", group="releases")
OFFER = Asset(name="offer", uri="caravan://registry/offer", group="releases")
CHAMPION = Asset(name="champion", uri="caravan://registry/champion", group="releases")
SNAPSHOT = Asset(name="snapshot", uri="caravan://vault/snapshot", group="recovery")
DRIFT = Asset(name="drift", uri="caravan://lake/drift", group="monitoring")
