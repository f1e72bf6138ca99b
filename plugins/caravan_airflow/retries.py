"""Decides which failures are worth a second try."""

from __future__ import annotations

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from contracts import exit_codes

#: A refusal is an answer: trying again would only give it later. Everything else (a store that does not answer,
#: a trainer that was killed) is tried again.
REFUSALS_ARE_FINAL = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=list(exit_codes.final()),
            action=RetryAction.FAIL,
            reason="A refusal does not change by trying again; its message says what to do.",
            match_subclasses=False,
        )
    ]
)
