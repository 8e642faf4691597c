"""The parts of a job file and their keys. None stands for "not given".

Neighbours: `job_values` says how single values are written, `jobfile` reads files with these models.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from fleet.core.jobfiles.job_values import (
    Arguments,
    Duration,
    Expression,
    Names,
    Percentage,
    PositiveDuration,
    ShareText,
    WaveNumbers,
    Waves,
    Webhook,
    Word,
)
from fleet.core.rollout import Disruption, ReleaseOrder
from fleet.core.scheduling.calendar import Blackout, Window
from fleet.core.scheduling.schedule import Missed, Schedule
from fleet.core.scheduling.timing import Moment, Otherwise


class Part(BaseModel):
    """A part of the file. None stands for "not given" only: an empty value is refused before this."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class MaxUnavailable(Part):
    """How many notebooks may be away from their owners at once, of all and within each group."""

    fleet: ShareText | None = None
    scope: ShareText | None = None
    owner: ShareText | None = None
    pool: ShareText | None = None
    flavor: ShareText | None = None


class GateModel(Part):
    """A program that says after each wave whether the next one may go: exit code 0 yes, 1 no."""

    command: Arguments = Field(description="The program and its arguments; no shell reads them.")
    timeout: PositiveDuration | None = Field(None, description="The longest that it may take.")


class WindowModel(Part):
    """A time in which changes may begin. With any, none begins outside of them."""

    opens: str = Field(description="A cron expression, such as 0 22 * * MON-FRI.", examples=["0 22 * * *"])
    lasts: PositiveDuration
    timezone: str = Field("UTC", description="By whose clock it opens, such as Europe/Berlin.")

    @model_validator(mode="after")
    def _opens_at_all(self) -> WindowModel:
        self.window()
        return self

    def window(self) -> Window:
        """The window that is meant. Raises ValueError when it is none."""
        return Window(self.opens, self.lasts, self.timezone)


class BlackoutModel(Part):
    """A time in which no change begins, whatever the windows say."""

    begins: str = Field(description="A local date, or date and time.", examples=["2026-12-20T18:00"])
    ends: str = Field(description="Likewise; the first moment after it.", examples=["2027-01-04"])
    timezone: str = Field("UTC", description="By whose clock.")

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> BlackoutModel:
        self.blackout()
        return self

    def blackout(self) -> Blackout:
        """The blackout that is meant. Raises ValueError when it is none."""
        return Blackout(self.begins, self.ends, self.timezone)


class IdleModel(Part):
    """When a notebook counts as idle; by default as the lease type IDLE has it. Percent, and kbit/s."""

    lasting: PositiveDuration | None = Field(None, description="How long nothing may have been above.")
    cpu: float | None = Field(None, gt=0, le=100)
    gpu: float | None = Field(None, gt=0, le=100)
    npu: float | None = Field(None, gt=0, le=100)
    network_receive: float | None = Field(None, gt=0)


class NoticeModel(Part):
    """Who tells owners before a notebook of theirs is stopped: a program, or a web address."""

    command: Arguments | None = Field(None, description="Gets the notice on its standard input, as JSON.")
    webhook: Webhook | None = Field(None, description="Gets the notice as the body of a POST, as JSON.")
    lead: Duration = Field(description="So long before the first stop.")
    postponed: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="A CSV file with a line owner,until for each who asked for a later time."
    )
    ask: str | None = Field(None, description="How owners ask for a later time, in words for them.")

    @model_validator(mode="after")
    def _has_one_way(self) -> NoticeModel:
        if (self.command is None) is (self.webhook is None):
            raise ValueError("needs either a command or a webhook")
        return self


class RolloutModel(Part):
    """How the changes are released."""

    waves: Waves | None = Field(None, description="Running totals released one after the other.")
    soak: Duration | None = Field(None, description="Wait between two waves.")
    concurrency: int | None = Field(None, ge=1, le=1000, description="Changes under way at once.")
    max_failures: ShareText | None = Field(None, description="Hard limit: never one more than this.")
    max_unavailable: MaxUnavailable | None = None
    order: ReleaseOrder | None = Field(None, description="Who goes first.")
    disruption: Disruption | None = Field(None, description="What may happen to a running notebook.")
    accept_sold_out: bool | None = Field(
        None, description="Whether a notebook may be restarted whose own flavor is sold out."
    )
    deadline: PositiveDuration | None = Field(None, description="After this no change starts.")
    change_deadline: PositiveDuration | None = Field(
        None, description="The longest that one change may take."
    )
    gate: GateModel | None = None
    approve: WaveNumbers | None = Field(None, description="Waves after which a person must approve.")
    windows: Annotated[tuple[WindowModel, ...], Field(min_length=1)] | None = Field(
        None, description="When changes may begin; without any, always."
    )
    blackouts: tuple[BlackoutModel, ...] | None = Field(None, description="When none may begin.")
    carry_over: bool | None = Field(None, description="Whether the rest waits for the next window.")
    when: Moment | None = Field(None, description="When a running notebook may be stopped.")
    patience: PositiveDuration | None = Field(None, description="How long a wave waits for that.")
    otherwise: Otherwise | None = Field(None, description="What follows when the patience is over.")
    idle: IdleModel | None = None
    notice: NoticeModel | None = None

    @model_validator(mode="after")
    def _says_what_follows(self) -> RolloutModel:
        if self.when in (None, Moment.NOW):
            for name in ("patience", "otherwise"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} says nothing without when: idle or when: next-stop")
        elif self.patience is None or self.otherwise is None:
            raise ValueError(
                f"when: {self.when} needs patience, such as 3d, and otherwise: skip or force, "
                "which says what happens to whoever is not ready by then"
            )
        if self.idle is not None and self.when is not Moment.IDLE:
            raise ValueError("idle says nothing without when: idle")
        return self


class GuardsModel(Part):
    """What must never happen."""

    max_targets: int | None = Field(None, ge=1, description="Refuse to change more notebooks than this.")
    max_share: Percentage | None = Field(
        None, description="Refuse to change a larger part of all notebooks; a few may be any part."
    )
    protect: Expression | None = None
    confirm_over: int | None = Field(
        None, ge=1, description="More changes than this are made only by who says their number."
    )


class ScheduleModel(Part):
    """When `fleet schedule` runs the job."""

    at: str = Field(description="A cron expression.", examples=["0 20 * * FRI"])
    timezone: str = Field("UTC", description="By whose clock, such as Asia/Shanghai.")
    missed: Missed = Field(Missed.SKIP, description="What becomes of a run whose time nobody was there for.")
    grace: PositiveDuration = Field(3600.0, description="Later than this after its time, a run is missed.")

    @model_validator(mode="after")
    def _comes(self) -> ScheduleModel:
        self.schedule()
        return self

    def schedule(self) -> Schedule:
        """The schedule that is meant. Raises ValueError when it is none."""
        return Schedule(self.at, self.timezone, self.missed, self.grace)


class JobFileModel(Part):
    """A job: what to change on which notebooks, and how fast."""

    job: Word = Field(description="The job type.")
    name: Word = Field(description="The name of this job, for plans and reports.")
    scopes: Names | None = Field(None, description="Configured scopes; default all.")
    select: Expression
    ids: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="A file with the ids of the only notebooks that are meant, one a line."
    )
    exclude: Expression | None = Field(None, description="Who is not meant although selected.")
    limit: ShareText | None = Field(None, description="Only a sample, always the same, of those selected.")
    seed: int | None = Field(None, ge=0, description="Another seed, another sample.")
    parameters: dict[str, Any] = Field(
        default_factory=dict, alias="with", description="The job type's own parameters."
    )
    rollout: RolloutModel = Field(default_factory=RolloutModel)
    schedule: ScheduleModel | None = None
    guards: GuardsModel = Field(default_factory=GuardsModel)
    prices: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="A CSV file: flavor,price_per_hour,currency."
    )

    @field_validator("seed")
    @classmethod
    def _of_a_sample(cls, seed: int | None, info: ValidationInfo) -> int | None:
        if "limit" in info.data and info.data["limit"] is None:
            raise ValueError("chooses a sample; give its limit too, such as limit: 10%")
        return seed
