// The module that apps drop in, run by the real convex-test: its functions, its validators, its reads.

import { convexTest } from "convex-test";
import { makeFunctionReference } from "convex/server";
import { afterEach, beforeEach, describe, expect, inject, test, vi } from "vitest";
import type { Alert, FeatureFlags, SystemHealth } from "../convex/monitoring/dashboard";

// convex-test finds the functions' root by the folder that code generation would make.
const modules = {
  "../convex/_generated/api.js": async () => ({}),
  "../convex/monitoring/dashboard.ts": () => import("../convex/monitoring/dashboard"),
};
type Range = { from?: number; to?: number };
const getSystemHealth = makeFunctionReference<"query", Range, SystemHealth>(
  "monitoring/dashboard:getSystemHealth",
);
const checkAlerts = makeFunctionReference<"query", Range, { alerts: Alert[] | null }>(
  "monitoring/dashboard:checkAlerts",
);
const getFeatureFlags = makeFunctionReference<"query", Record<string, never>, FeatureFlags>(
  "monitoring/dashboard:getFeatureFlags",
);

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const NOW = Date.UTC(2025, 11, 16, 13, 0);

beforeEach(() => {
  // Only the date: convex-test itself needs timers that run.
  vi.useFakeTimers({ toFake: ["Date"], now: NOW });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

type App = ReturnType<typeof convexTest>;

/** Makes a row `ago` before now. Oldest first: convex-test never stamps a row earlier than the one before. */
async function insert(app: App, table: string, ago: number, row: Record<string, unknown>) {
  vi.setSystemTime(NOW - ago);
  const made = await app.run(async (ctx) => {
    const id = await ctx.db.insert(table as never, row as never);
    return (await ctx.db.get(id as never)) as { _id: string; _creationTime: number };
  });
  vi.setSystemTime(NOW);
  expect(made._creationTime).toBeCloseTo(NOW - ago, -2);
  return made._id;
}

/** A message that began `ago` before now and, unless it is still under way, took `took`. */
async function message(app: App, ago: number, status: string, took?: number, taskId?: string) {
  const completedAt = took === undefined ? undefined : NOW - ago + took;
  return await insert(app, "messages", ago, { status, completedAt, taskId });
}

const health = async (app: App, range: Range = {}) => await app.query(getSystemHealth, range);
const alerts = async (app: App, range: Range = {}) =>
  (await app.query(checkAlerts, range)).alerts;

describe("what is not known", () => {
  test("an app without rows shows nothing at all, neither 0 % nor 100 %", async () => {
    const app = convexTest({ modules });
    expect(await health(app)).toEqual({
      status: null,
      errorRate: null,
      completionRate: null,
      responseTimeMs: null,
      stuckWorkflows: null,
      stuckMessages: null,
      samples: 0,
      partial: false,
      from: NOW - 10 * MINUTE,
      to: NOW,
    });
    expect(await alerts(app)).toBeNull();
  });

  test("rows that are all under way give no rates, and their counts are known", async () => {
    const app = convexTest({ modules });
    await message(app, MINUTE, "streaming");
    expect(await health(app)).toMatchObject({
      status: null,
      errorRate: null,
      completionRate: null,
      responseTimeMs: null,
      stuckWorkflows: 0,
      stuckMessages: 0,
    });
    expect(await alerts(app)).toBeNull();
  });

  test("more rows than are read: the rates are those of the newest, the counts are unknown", async () => {
    const app = convexTest({ modules });
    await message(app, 9 * MINUTE, "error", SECOND);
    await app.run(async (ctx) => {
      for (let row = 0; row < 1_000; row += 1) {
        const made = { status: "complete", completedAt: NOW - SECOND };
        await ctx.db.insert("messages" as never, made as never);
      }
    });
    vi.setSystemTime(NOW + 1);
    expect(await health(app)).toMatchObject({
      status: null,
      errorRate: 0,
      completionRate: 100,
      stuckWorkflows: null,
      stuckMessages: null,
      samples: 1_000,
      partial: true,
    });
  });
});

describe("what is counted", () => {
  test("a healthy app, in percent and milliseconds", async () => {
    const app = convexTest({ modules });
    for (let row = 0; row < 20; row += 1) await message(app, 8 * MINUTE, "complete", 800 + row);
    expect(await health(app)).toMatchObject({
      status: "healthy",
      errorRate: 0,
      completionRate: 100,
      responseTimeMs: 818,
      stuckWorkflows: 0,
      stuckMessages: 0,
      samples: 20,
      partial: false,
    });
    expect(await alerts(app)).toEqual([]);
  });

  test("one of forty failed: 2.5 %, degraded, no alert", async () => {
    const app = convexTest({ modules });
    for (let row = 0; row < 39; row += 1) await message(app, 5 * MINUTE, "complete", SECOND);
    await message(app, 5 * MINUTE, "error", SECOND);
    expect(await health(app)).toMatchObject({
      status: "degraded",
      errorRate: 2.5,
      completionRate: 97.5,
      samples: 40,
    });
    expect(await alerts(app)).toEqual([]);
  });

  test("a row with an error has failed, whatever its status says", async () => {
    const app = convexTest({ modules });
    const completedAt = NOW - 2 * MINUTE + SECOND;
    await insert(app, "messages", 2 * MINUTE, { status: "complete", completedAt, error: "boom" });
    await insert(app, "messages", 2 * MINUTE, { status: "complete", completedAt, error: null });
    expect(await health(app)).toMatchObject({ status: "unhealthy", errorRate: 50, samples: 2 });
    expect(await alerts(app)).toEqual([
      { severity: "critical", message: "errorRate is above 5", metric: "errorRate", value: 50 },
      { severity: "critical", message: "completionRate is below 95", metric: "completionRate", value: 50 },
    ]);
  });

  test("what a user cancelled is no work at all", async () => {
    const app = convexTest({ modules });
    await insert(app, "tasks", MINUTE, { name: "import", status: "cancelled", error: "by user" });
    expect(await health(app)).toMatchObject({ status: null, errorRate: null, stuckWorkflows: null });
  });

  test("a slow app has an alert, and rows without an end have no response time", async () => {
    const app = convexTest({ modules });
    await message(app, 3 * MINUTE, "complete", 12 * SECOND);
    expect((await alerts(app))?.map((alert) => alert.metric)).toEqual(["responseTimeMs"]);
    expect(await health(app)).toMatchObject({ status: "unhealthy", responseTimeMs: 12_000 });
    const other = convexTest({ modules });
    await message(other, 3 * MINUTE, "complete");
    expect(await health(other)).toMatchObject({ status: "healthy", samples: 1, responseTimeMs: null });
  });
});

describe("what is stuck", () => {
  test("rows under way for too long are counted by kind and lower the completion rate", async () => {
    const app = convexTest({ modules });
    for (let row = 0; row < 4; row += 1) {
      await insert(app, "tasks", 16 * MINUTE, { name: "import", status: "running" });
    }
    await insert(app, "tasks", 14 * MINUTE, { name: "import", status: "running" });
    await message(app, 9 * MINUTE, "streaming");
    await message(app, 4 * MINUTE, "streaming");
    await message(app, MINUTE, "complete", SECOND);
    const found = await health(app);
    // Due in the window: the message of nine minutes ago and the four tasks of sixteen minutes ago.
    expect(found).toMatchObject({ status: "unhealthy", stuckMessages: 1, stuckWorkflows: 4 });
    expect(found.completionRate).toBeCloseTo(100 / 6);
    expect((await alerts(app))?.map((alert) => alert.metric)).toContain("stuckWorkflows");
  });

  test("a workflow may take its time: only messages have a response time", async () => {
    const app = convexTest({ modules });
    const row = { name: "import", status: "completed", finishedAt: NOW - MINUTE };
    await insert(app, "tasks", 9 * MINUTE, row);
    expect(await health(app)).toMatchObject({ status: "healthy", samples: 1, responseTimeMs: null });
  });

  test("a row whose own start is later than its making counts from there", async () => {
    const app = convexTest({ modules });
    const startedAt = NOW - 2 * MINUTE;
    await insert(app, "tasks", 40 * MINUTE, { name: "import", status: "running", startedAt });
    expect(await health(app)).toMatchObject({ stuckWorkflows: 0, completionRate: null });
  });
});

describe("test traffic", () => {
  // The known issue of the log that rolloutd grew out of: left-over test messages made a healthy app look degraded.
  test("rows of test tasks do not count, found by the name of their task", async () => {
    const app = convexTest({ modules });
    const tests = ["testPromptMessageId", "Test run 4", "final-verification-test", "loadTest"];
    const ids: string[] = [];
    for (const name of tests) {
      ids.push(await insert(app, "tasks", 20 * MINUTE, { name, status: "running" }));
    }
    const done = { status: "completed", finishedAt: NOW - 9 * MINUTE };
    const real = await insert(app, "tasks", 10 * MINUTE, { name: "the latest contest", ...done });
    for (const id of ids) {
      await message(app, 9 * MINUTE, "pending", undefined, id);
      await message(app, 9 * MINUTE, "error", SECOND, id);
    }
    await message(app, 9 * MINUTE, "complete", SECOND, real);
    expect(await health(app)).toMatchObject({
      status: "healthy",
      errorRate: 0,
      completionRate: 100,
      stuckWorkflows: 0,
      stuckMessages: 0,
      samples: 2,
    });
    expect(await alerts(app)).toEqual([]);
  });

  test("an app with nothing but test traffic is not known to be healthy", async () => {
    const app = convexTest({ modules });
    const task = await insert(app, "tasks", MINUTE, { name: "Test", status: "completed" });
    await message(app, MINUTE, "complete", SECOND, task);
    expect(await health(app)).toMatchObject({ status: null, errorRate: null, samples: 0 });
    expect(await alerts(app)).toBeNull();
  });
});

describe("from and to", () => {
  test("a past stretch is answered as it was then", async () => {
    const app = convexTest({ modules });
    await message(app, 30 * MINUTE, "error", SECOND);
    await message(app, 30 * MINUTE, "complete", 20 * MINUTE); // stuck then, done since
    await message(app, MINUTE, "complete", SECOND);
    const past = { from: NOW - 40 * MINUTE, to: NOW - 20 * MINUTE };
    expect(await health(app, past)).toMatchObject({
      ...past,
      errorRate: 100,
      completionRate: 0,
      stuckMessages: 1,
      samples: 1,
    });
    expect(await health(app)).toMatchObject({ errorRate: 0, stuckMessages: 0, samples: 2 });
    const before = { from: NOW - 60 * MINUTE, to: NOW - 45 * MINUTE };
    expect(await health(app, before)).toMatchObject({ status: null, errorRate: null });
    expect(await alerts(app, before)).toBeNull();
  });

  test("the start belongs to the stretch and the end does not", async () => {
    const app = convexTest({ modules });
    await message(app, 3 * MINUTE, "complete", MINUTE);
    const ended = NOW - 2 * MINUTE;
    expect((await health(app, { from: ended, to: NOW })).samples).toBe(1);
    expect((await health(app, { from: ended - MINUTE, to: ended })).samples).toBe(0);
  });

  test("the future is not asked about, and a stretch that ends before it begins is empty", async () => {
    const app = convexTest({ modules });
    await message(app, MINUTE, "complete", SECOND);
    const ahead = await health(app, { from: NOW - 5 * MINUTE, to: NOW + 60 * MINUTE });
    expect(ahead).toMatchObject({ from: NOW - 5 * MINUTE, to: NOW, samples: 1 });
    const reversed = await health(app, { from: NOW, to: NOW - 5 * MINUTE });
    expect(reversed).toMatchObject({ samples: 0, errorRate: null });
  });

  test("work from long before the stretch is not read", async () => {
    const app = convexTest({ modules });
    await message(app, 71 * MINUTE, "streaming");
    expect(await health(app)).toMatchObject({ stuckMessages: null, samples: 0 });
    await message(app, 69 * MINUTE, "streaming");
    expect(await health(app)).toMatchObject({ stuckMessages: 1 });
  });

  test("anything but numbers is refused", async () => {
    const app = convexTest({ modules });
    await expect(health(app, { from: "now" } as never)).rejects.toThrow(/Validator error|number/);
  });
});

test("the flags are shown as the app sees them", async () => {
  const app = convexTest({ modules });
  vi.stubEnv("ENABLE_WORKFLOW", "true");
  vi.stubEnv("ENABLE_MESSAGE_COMPRESSION", "false");
  expect(await app.query(getFeatureFlags, {})).toEqual({
    ENABLE_RETRY_WITH_BACKOFF: false,
    ENABLE_PROMPT_MESSAGE_ID: false,
    ENABLE_MESSAGE_COMPRESSION: false,
    LOG_PROVIDER_ENABLED: false,
    ENABLE_WORKFLOW: true,
    mode: "workflow",
  });
});

// What `examples/guide.toml` asks after its last phase: `pointer = "/mode"`, `equals = "workflow"`.
test("the mode follows its flag: durable execution, or what the app reverts to", async () => {
  const app = convexTest({ modules });
  const mode = async () => (await app.query(getFeatureFlags, {})).mode;
  expect(await mode()).toBe("direct");
  for (const [value, expected] of [
    ["true", "workflow"],
    ["false", "direct"],
    ["", "direct"],
    ["TRUE", "direct"],
  ] as const) {
    vi.stubEnv("ENABLE_WORKFLOW", value);
    expect(await mode(), value).toBe(expected);
  }
  // Another flag changes nothing.
  vi.stubEnv("ENABLE_WORKFLOW", "true");
  vi.stubEnv("ENABLE_RETRY_WITH_BACKOFF", "true");
  const probes = inject("probes" as never) as { function: string; pointer: string; equals: string }[];
  expect(probes.length).toBeGreaterThan(0);
  for (const { function: path, pointer, equals } of probes) {
    const asked = makeFunctionReference<"query", Record<string, never>, Record<string, unknown>>(path);
    expect((await app.query(asked, {}))[pointer.slice(1)], `${path} ${pointer}`).toBe(equals);
  }
});

// The test in Rust asks the plan itself and hands its answer over: a plan without sources reads these places.
test("what a plan without sources reads is there, with a value", async () => {
  const pointers = inject("pointers" as never) as Record<string, string[]>;
  const app = convexTest({ modules });
  await message(app, MINUTE, "complete", SECOND);
  const answers: Record<string, object> = {
    health: await health(app),
    alerts: await app.query(checkAlerts, {}),
  };
  expect(Object.keys(pointers).sort()).toEqual(Object.keys(answers).sort());
  for (const [source, places] of Object.entries(pointers)) {
    for (const place of places) {
      const found = (answers[source] as Record<string, unknown>)[place.slice(1)];
      expect(found, `${source} ${place}`).toSatisfy((value) => value !== undefined && value !== null);
    }
  }
});
