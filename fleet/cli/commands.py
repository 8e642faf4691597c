"""Every command: where it is, what it does in a line, and an example. `app` makes the tree of them.

The line is the first one of the function's own help, told again here so that a list imports no command.
"""

from __future__ import annotations

from fleet.cli.lazy import Lazy

HELP = """\
Change many ModelArts notebooks safely: select, plan, apply, report.

A job file says what to change on which notebooks; fleet.toml says where they are and as whom to come. A first
try needs neither and no account: fleet demo. Then the road is:

\b
  fleet ls -s 'status == "RUNNING"'    whom does a selector pick?
  fleet validate job.yaml              is the job file right?
  fleet plan job.yaml -o plan.json     what would change, on whom?
  fleet apply plan.json                change it; the first line names the RUN
  fleet status RUN                     what is under way? see pause, set, cancel
  fleet resume RUN                     it was killed or ended early: go on
  fleet report RUN                     what became of every notebook?
  fleet undo RUN -o back.json          plan the way back

Only apply, run, resume, start and stop change anything in the cloud. Every command explains itself, with an
example: fleet COMMAND --help.
"""
RUN = "20261130-0815"
NOTEBOOK = "f9937afa-4451-42db-a76b-72d624749f66"
SCHEDULE_HELP = """\
Run jobs when their times come.

The times are in the job file, beside the windows in which its changes may begin:

\b
  schedule: {at: "0 20 * * FRI", timezone: Asia/Shanghai, missed: skip}
  rollout:
    windows: [{opens: "0 22 * * FRI", lasts: 6h, timezone: Asia/Shanghai}]
    blackouts: [{begins: 2026-12-20, ends: 2027-01-04, timezone: Asia/Shanghai}]
"""

COMMANDS = {
    "demo": Lazy(
        "demo:demo", "Try everything in half a minute, without an account.", "fleet demo --folder try-it"
    ),
    "ls": Lazy(
        "listing:ls",
        "Show the notebooks that a selector picks.",
        """fleet ls -s 'image.name.startsWith("pytorch1.8")' -c name,owner,lease.left""",
    ),
    "validate": Lazy(
        "planning:validate", "Check a job file, without credentials.", "fleet validate job.yaml"
    ),
    "plan": Lazy("planning:plan", "Make a plan: list, check, compare.", "fleet plan job.yaml -o plan.json"),
    "show": Lazy("planning:show", "Show a plan again, from its file alone.", "fleet show plan.json --all"),
    "apply": Lazy("applying:apply", "Perform a plan exactly as it was sealed.", "fleet apply plan.json"),
    "run": Lazy(
        "applying:run",
        "Plan a job and apply the plan at once.",
        "fleet run job.yaml --yes -o jsonl > report.jsonl",
    ),
    "resume": Lazy(
        "applying:resume", "Go on with a run that was killed or ended early.", f"fleet resume {RUN}"
    ),
    "retry": Lazy(
        "again:retry",
        "Make a new plan for what a run did not change.",
        f"fleet retry {RUN} --failed -o again.json",
    ),
    "undo": Lazy("again:undo", "Make the plan that takes a run back.", f"fleet undo {RUN} -o back.json"),
    "report": Lazy(
        "reporting:report",
        "Tell what became of every notebook of a run.",
        f"fleet report {RUN} -o csv > report.csv",
    ),
    "runs": Lazy("reporting:runs", "List the runs on this machine, the newest first.", "fleet runs"),
    "recover": Lazy(
        "recovering:recover",
        "Tell what a run left behind whose journal is lost or damaged.",
        f"fleet recover {RUN}",
    ),
    "status": Lazy("steering:status", "Tell where a run stands.", f"fleet status {RUN}"),
    "watch": Lazy(
        "steering:watch", "Show a run as it goes on, and its report at its end.", f"fleet watch {RUN}"
    ),
    "pause": Lazy("steering:pause", "Let no further change of a run start.", f"fleet pause {RUN}"),
    "approve": Lazy(
        "steering:approve",
        "Let a run that waits for approval release the next wave.",
        f"fleet approve {RUN}",
    ),
    "cancel": Lazy("steering:cancel", "End a run early.", f"fleet cancel {RUN}"),
    "set": Lazy(
        "steering:set",
        "Give a run another rate or concurrency.",
        f"fleet set {RUN} --rate 30/min --concurrency 5",
    ),
    "schema": Lazy(
        "planning:schema",
        "Print the JSON Schema of job files, for editors.",
        "fleet schema > job.schema.json",
    ),
    "simulate": Lazy(
        "simulating:simulate",
        "Run a simulated ModelArts with a seeded fleet.",
        "fleet simulate --notebooks 300 --time-scale 60 --port 9000",
    ),
    "start": Lazy(
        "bring:start",
        "Start one notebook with the lease it should have.",
        f"fleet start --scope lab-a {NOTEBOOK} --duration 4h",
    ),
    "stop": Lazy(
        "bring:stop",
        "Stop one notebook and leave it stopped.",
        f"fleet stop --scope lab-a {NOTEBOOK}",
    ),
}
SCHEDULE = {
    "run": Lazy(
        "schedule:run",
        "Run jobs when their times come, until told to end.",
        "fleet schedule run rightsizing.yaml rotation.yaml",
    ),
    "once": Lazy(
        "schedule:once",
        "Run what has come due since the last time, then end.",
        "fleet schedule once rightsizing.yaml",
    ),
    "next": Lazy(
        "schedule:next_times",
        "Show when jobs come next, and when their windows are open.",
        "fleet schedule next rightsizing.yaml -n 3",
    ),
    "history": Lazy(
        "schedule:history",
        "Show what became of every time that came due.",
        "fleet schedule history rightsizing.yaml",
    ),
}
