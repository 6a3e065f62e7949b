// Health of this app for rolloutd, and for people: `npx convex run monitoring/dashboard:getSystemHealth`.
//
// One file to drop into an app's `convex/` folder. It needs no schema and no index of its own, changes nothing, and
// reads a bounded number of rows. Edit CONFIG; the rest should fit as it is. What is not known is null, never 0 % and
// never 100 %: rolloutd takes null for "no data", which is neither a pass nor a breach.
//
// `getFeatureFlags` answers each flag of CONFIG as on or off and, as `mode`, which of its two code paths the app takes:
// `workflow`, durable execution, while ENABLE_WORKFLOW is on, and `direct`, what it reverts to, while it is off. A plan
// asks for it right after the flag was read back. It is read where the app's own functions read it, so it shows that
// the new value has reached the running code; that workflows also finish is what the health and a smoke test show.

import { internalQueryGeneric, type DocumentByName, type GenericQueryCtx } from "convex/server";
import { v, type GenericId, type Infer, type VBoolean } from "convex/values";

/** A table whose rows are pieces of work, one row each. */
type Work = {
  table: string;
  /** A message is what a user waits for: it has a response time. A workflow may take long. Both can be stuck. */
  kind: "workflow" | "message";
  /** The field that says how far a row is. Any other value than these means that it is still under way. */
  status: string;
  succeeded: string[];
  failed: string[];
  /** Never counted at all, such as what a user cancelled. */
  ignored?: string[];
  /** When the work began, in milliseconds since 1970; without it, when the row was made. */
  startedAt?: string;
  /** When it ended. Without it an ended row counts at its start, and nothing is known of the response time. */
  finishedAt?: string;
  /** What was wrong: a row with a text (or anything but null) here has failed, whatever its status says. */
  error?: string;
  /** A row that is under way for longer is stuck. */
  stuckAfterMs: number;
  /** Fields whose text gives test traffic away. */
  names?: string[];
  /** A field with the id of a row of another table, and the fields there that give test traffic away. */
  parent?: { id: string; names: string[] };
};

const CONFIG = {
  work: [
    {
      table: "tasks",
      kind: "workflow",
      status: "status",
      succeeded: ["completed"],
      failed: ["failed"],
      ignored: ["cancelled"],
      startedAt: "startedAt",
      finishedAt: "finishedAt",
      error: "error",
      stuckAfterMs: 15 * 60_000,
      names: ["name"],
    },
    {
      table: "messages",
      kind: "message",
      status: "status",
      succeeded: ["complete"],
      failed: ["error"],
      finishedAt: "completedAt",
      error: "error",
      stuckAfterMs: 5 * 60_000,
      parent: { id: "taskId", names: ["name"] },
    },
  ] as Work[],
  /** Matches `testPromptMessageId`, `Test run 4`, `final-verification-test`; not `latest`, `contest`, `Testimonial`. */
  testTraffic: /(Test|(?<![A-Za-z])test)(s|ed|er|ing)?(?![a-z])/,
  /** The stretch of time that is looked at when nobody says `from`: short, so that a rollback soon shows. */
  windowMs: 10 * 60_000,
  /** How long before the window work may have begun. Older rows are not read: what is stuck longer is not counted. */
  lookbackMs: 60 * 60_000,
  /** Most rows read of each table. A function may read 16 MiB in all: lower it where rows are large. */
  rowsMax: 1_000,
  /** With fewer ended rows than this, rates and response time are unknown. */
  endedMin: 1,
  /** Which response time counts: 95 = only one of twenty was slower. */
  responsePercentile: 95,
  /** Beyond `target` the app is degraded; beyond `alert` it is unhealthy, and there is an alert. */
  limits: {
    errorRate: { wants: "low", target: 1, alert: 5 },
    completionRate: { wants: "high", target: 99, alert: 95 },
    stuckWorkflows: { wants: "low", target: 0, alert: 3 },
    stuckMessages: { wants: "low", target: 0, alert: 3 },
    responseTimeMs: { wants: "low", target: 5_000, alert: 10_000 },
  } as Record<Metric, Limit>,
  /** The app's flags: environment variables that turn something on with the text `true`. */
  flags: [
    "ENABLE_RETRY_WITH_BACKOFF",
    "ENABLE_PROMPT_MESSAGE_ID",
    "ENABLE_MESSAGE_COMPRESSION",
    "LOG_PROVIDER_ENABLED",
    "ENABLE_WORKFLOW",
  ] as const,
  /** Which code path the app takes: `on` while the flag is on, `off` while it is not. */
  mode: { flag: "ENABLE_WORKFLOW", on: "workflow", off: "direct" } as const,
};

/** The stretch of time asked about, `from` ≤ t < `to`, in milliseconds since 1970. Without `to`: up to now. */
const range = { from: v.optional(v.number()), to: v.optional(v.number()) };

const number = v.union(v.number(), v.null());
const systemHealth = v.object({
  /** `healthy`, `degraded`, `unhealthy`. */
  status: v.union(v.literal("healthy"), v.literal("degraded"), v.literal("unhealthy"), v.null()),
  /** Percent of the rows that ended in the window. */
  errorRate: number,
  /** Percent of the rows that ended, or should have ended, in the window. */
  completionRate: number,
  /** Milliseconds from start to end, of the messages that succeeded in the window. */
  responseTimeMs: number,
  /** Rows that were under way for too long at the end of the window. Unknown when not all rows were read. */
  stuckWorkflows: number,
  stuckMessages: number,
  /** How many rows ended in the window. */
  samples: v.number(),
  /** True when there were more rows than may be read: then the rates are those of the newest ones. */
  partial: v.boolean(),
  from: v.number(),
  to: v.number(),
});
const alert = v.object({
  severity: v.literal("critical"),
  message: v.string(),
  metric: v.string(),
  value: v.number(),
});
const mode = v.union(v.literal(CONFIG.mode.on), v.literal(CONFIG.mode.off));
type Flag = (typeof CONFIG.flags)[number];
const flags = Object.fromEntries(CONFIG.flags.map((flag) => [flag, v.boolean()]));
const featureFlags = v.object({ ...(flags as Record<Flag, VBoolean>), mode });

export type SystemHealth = Infer<typeof systemHealth>;
export type Alert = Infer<typeof alert>;
export type FeatureFlags = Infer<typeof featureFlags>;

/** How the app fares. */
export const getSystemHealth = internalQueryGeneric({
  args: range,
  returns: systemHealth,
  handler: async (ctx, args): Promise<SystemHealth> => await measure(ctx, args),
});

/** What is beyond its alert threshold; null when nothing is known, which is not the same as none. */
export const checkAlerts = internalQueryGeneric({
  args: range,
  returns: v.object({ alerts: v.union(v.array(alert), v.null()) }),
  handler: async (ctx, args): Promise<{ alerts: Alert[] | null }> => {
    const health = await measure(ctx, args);
    return { alerts: health.status === null ? null : alertsOf(health) };
  },
});

/** The flags as the app sees them, on or off, and which code path it takes by them. */
export const getFeatureFlags = internalQueryGeneric({
  args: {},
  returns: featureFlags,
  handler: async (): Promise<FeatureFlags> => {
    const flags = Object.fromEntries(CONFIG.flags.map((flag) => [flag, isOn(flag)])) as Record<Flag, boolean>;
    return { ...flags, mode: isOn(CONFIG.mode.flag) ? CONFIG.mode.on : CONFIG.mode.off };
  },
});

type Ctx = GenericQueryCtx<any>;
type Row = DocumentByName<any, any>;
type Range = { from?: number; to?: number };
type Metric = "errorRate" | "completionRate" | "stuckWorkflows" | "stuckMessages" | "responseTimeMs";
type Limit = { wants: "low" | "high"; target: number; alert: number };

async function measure(ctx: Ctx, range: Range): Promise<SystemHealth> {
  const now = Date.now();
  const to = Math.min(range.to ?? now, now);
  const from = Math.min(range.from ?? to - CONFIG.windowMs, to);
  const count = { succeeded: 0, failed: 0, overdue: 0, rows: 0, workflow: 0, message: 0 };
  const times: number[] = [];
  let partial = false;
  for (const work of CONFIG.work) {
    const rows = await newestRows(ctx, work, from - CONFIG.lookbackMs, to);
    partial ||= rows.length > CONFIG.rowsMax;
    for (const row of await withoutTests(ctx, work, rows.slice(0, CONFIG.rowsMax))) {
      const { end, started, ended, took } = judge(work, row);
      if (end === "ignored") continue;
      count.rows += 1;
      // Not only what is open now: a row that ended later was under way at the end of a window in the past.
      const wasOpen = ended >= to;
      const dueAt = started + work.stuckAfterMs;
      if (wasOpen && dueAt <= to) count[work.kind] += 1;
      if (wasOpen && dueAt >= from && dueAt <= to) count.overdue += 1;
      if (end === "open" || ended < from || wasOpen) continue;
      count[end] += 1;
      if (end === "succeeded" && work.kind === "message" && took !== null) times.push(took);
    }
  }
  const samples = count.succeeded + count.failed;
  const due = samples + count.overdue;
  const share = (part: number, whole: number) =>
    whole > 0 && whole >= CONFIG.endedMin ? (100 * part) / whole : null;
  const stuck = (number: number) => (partial || count.rows === 0 ? null : number);
  const health = {
    errorRate: share(count.failed, samples),
    completionRate: share(count.succeeded, due),
    responseTimeMs: samples >= CONFIG.endedMin ? percentile(times) : null,
    stuckWorkflows: stuck(count.workflow),
    stuckMessages: stuck(count.message),
  };
  return { status: statusOf(health), ...health, samples, partial, from, to };
}

/** At most one row more than may be counted, newest first, so that it shows when there are more. */
async function newestRows(ctx: Ctx, work: Work, since: number, until: number): Promise<Row[]> {
  return await ctx.db
    .query(work.table)
    .withIndex("by_creation_time", (q) => q.gte("_creationTime", since).lt("_creationTime", until))
    .order("desc")
    .take(CONFIG.rowsMax + 1);
}

async function withoutTests(ctx: Ctx, work: Work, rows: Row[]): Promise<Row[]> {
  const isTest = (row: Row | null, names: string[] = []) =>
    names.some((name) => typeof row?.[name] === "string" && CONFIG.testTraffic.test(row[name]));
  const { parent } = work;
  const ids = new Set(parent === undefined ? [] : rows.map((row) => row[parent.id]).filter(isId));
  const found = await Promise.all([...ids].map(async (id) => [id, await ctx.db.get(id)] as const));
  const tests = new Set(found.filter(([, row]) => isTest(row, parent?.names)).map(([id]) => id));
  return rows.filter(
    (row) => !isTest(row, work.names) && !(parent !== undefined && tests.has(row[parent.id])),
  );
}

type End = "succeeded" | "failed" | "ignored" | "open";

type Judged = { end: End; started: number; ended: number; took: number | null };

/** How a row stands. `ended` is infinity while it is under way. */
function judge(work: Work, row: Row): Judged {
  const status = row[work.status];
  const error = work.error === undefined ? null : row[work.error];
  const end = ((): End => {
    if (work.ignored?.includes(status)) return "ignored";
    if (work.failed.includes(status) || (error !== undefined && error !== null)) return "failed";
    return work.succeeded.includes(status) ? "succeeded" : "open";
  })();
  const moment = (field: string | undefined) => {
    const value = field === undefined ? undefined : row[field];
    return typeof value === "number" ? value : undefined;
  };
  const started = moment(work.startedAt) ?? row._creationTime;
  const finished = moment(work.finishedAt);
  // A row that has ended without saying when counts at its start, and says nothing about how long it took.
  const ended = end === "open" ? Infinity : (finished ?? started);
  return { end, started, ended, took: finished === undefined ? null : Math.round(finished - started) };
}

/** Nearest rank, so the answer is a time that was really seen. */
function percentile(times: number[]): number | null {
  const sorted = times.sort((a, b) => a - b);
  return sorted[Math.ceil((sorted.length * CONFIG.responsePercentile) / 100) - 1] ?? null;
}

type Measured = Record<Metric, number | null>;

function statusOf(health: Measured): SystemHealth["status"] {
  if (beyond(health, "alert").length > 0) return "unhealthy";
  if (beyond(health, "target").length > 0) return "degraded";
  const { errorRate, completionRate, stuckWorkflows, stuckMessages } = health;
  const known = [errorRate, completionRate, stuckWorkflows, stuckMessages];
  return known.includes(null) ? null : "healthy";
}

function alertsOf(health: Measured): Alert[] {
  return beyond(health, "alert").map(([metric, value, { wants, alert }]) => ({
    severity: "critical",
    message: `${metric} is ${wants === "low" ? "above" : "below"} ${alert}`,
    metric,
    value,
  }));
}

function beyond(health: Measured, side: "target" | "alert"): [Metric, number, Limit][] {
  return (Object.entries(CONFIG.limits) as [Metric, Limit][]).flatMap(([metric, limit]) => {
    const value = health[metric];
    if (value === null) return [];
    const isBeyond = limit.wants === "low" ? value > limit[side] : value < limit[side];
    return isBeyond ? [[metric, value, limit] as [Metric, number, Limit]] : [];
  });
}

/** As the guide says it: on is the text `true` and nothing else. */
function isOn(flag: string): boolean {
  return process.env[flag] === "true";
}

function isId(value: unknown): value is GenericId<any> {
  return typeof value === "string";
}

declare const process: { env: Record<string, string | undefined> };
