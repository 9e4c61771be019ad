// Node: async functions with Promise.all() as the group, an AbortController as what cancels, setTimeout() of
// node:timers/promises with its signal as the sleep, a controller for each level of a nest. A yield is `await` of nothing.
// A timeout that does not fire is a timer started and cleared. It has no queues, locks or semaphores (left out); a worker
// thread echoes messages for the offload.
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { setMaxListeners } from "node:events";
import { Worker } from "node:worker_threads";

const YIELDS = 40000, TIMEOUTS = 2000, JOBS = 200, LONG = 1000000;

const clock = () => Number(process.hrtime.bigint());
const say = (name, value) => console.log(`${name} ${value.toFixed(3)}`);
const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };

function memory() {
  const text = readFileSync("/proc/self/status", "utf8");
  return 1024 * [...text.matchAll(/^(?:VmRSS|VmPTE):\s*(\d+)/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
}

async function repeat(batch, operations) {
  const budget = 1e9 * Number(process.env.BENCH_SECONDS ?? 0.1);
  let batches = 0;

  await batch();
  const start = clock();
  do {
    await batch();
    batches++;
  } while (clock() - start < budget);
  say("ns", (clock() - start) / (batches * operations));
}

const group = (n, body) => Promise.all(Array.from({ length: n }, (_, i) => body(i)));
const nothing = async () => {};
const yields = async (count) => { for (let i = 0; i < count; i++) await undefined; };

function canceller() {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

async function sleepUntilCancelled(signal) {
  try {
    await sleep(LONG, undefined, { signal });
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

async function sleepers(n) {
  const before = memory(), controller = canceller();
  let start = clock();
  const all = group(n, () => sleepUntilCancelled(controller.signal));
  await undefined;
  const pause = clock();
  say("bytes", (memory() - before) / n);
  const middle = clock();
  start += middle - pause;
  controller.abort();
  await all;
  say("ns", (clock() - start) / n);
  say("cancel-ns", (clock() - middle) / n);
}

async function wake(n) {
  const start = clock(), used = cpu();
  await group(n, (i) => sleep((Number((BigInt(i) * 2654435761n) & 0xffffffffn) % 100000) / 1000));
  say("beyond-ms", (clock() - start) / 1e6 - 100);
  say("cpu-ms", cpu() - used);
}

async function timeouts(others, count) {
  const controller = canceller();
  const all = group(others, () => sleepUntilCancelled(controller.signal));
  await repeat(async () => {
    for (let i = 0; i < TIMEOUTS; i++) {
      const timer = setTimeout(() => {}, LONG);
      await yields(count);
      clearTimeout(timer);
    }
  }, TIMEOUTS);
  controller.abort();
  await all;
}

// Each level has a signal of its own that follows the one outside. (AbortSignal.any() takes 50 times as long.)
async function level(left, outer, complete) {
  const controller = new AbortController(), { signal } = controller;
  outer.addEventListener("abort", () => controller.abort(), { once: true });
  if (left === 1) {
    complete();
    await sleepUntilCancelled(signal);
  } else {
    await undefined; // or ten thousand levels begin on one stack
    await group(1, () => level(left - 1, signal, complete));
  }
}

async function nest(depth) {
  const controller = canceller();
  let outer;
  await new Promise((complete) => { outer = level(depth, controller.signal, complete); });
  controller.abort();
  await outer;
}

async function nestOfLimits(depth) {
  const controller = canceller();
  const task = (async () => {
    const timers = Array.from({ length: depth }, () => setTimeout(() => {}, LONG));
    await sleepUntilCancelled(controller.signal);
    while (timers.length > 0) clearTimeout(timers.pop());
  })();
  await undefined;
  controller.abort();
  await task;
}

async function fail(n, all) {
  const controller = canceller(), failures = [];
  await group(n, async (i) => {
    try {
      if (all || i === n - 1) throw new Error("failed");
      await sleepUntilCancelled(controller.signal);
    } catch (error) {
      failures.push(error);
      controller.abort();
    }
  });
  if (failures.length !== (all ? n : 1)) throw new AggregateError(failures);
}

async function offload() {
  const worker = new Worker(
    'const { parentPort } = require("node:worker_threads"); parentPort.on("message", (m) => parentPort.postMessage(m));',
    { eval: true });
  await repeat(async () => {
    for (let i = 0; i < JOBS; i++) {
      const answer = new Promise((done) => worker.once("message", done));
      worker.postMessage(i);
      await answer;
    }
  }, JOBS);
  await worker.terminate();
}

function echo() {
  const server = createServer((client) => {
    client.setNoDelay(true);
    client.on("data", (data) => client.write(data));
    client.on("error", () => client.destroy());
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => say("port", server.address().port));
}

const workloads = {
  "spawn": (n) => repeat(() => group(n, nothing), n),
  "spawn-yield": (n) => repeat(() => group(n, () => yields(1)), n),
  "yield": (n) => repeat(() => group(n, () => yields(YIELDS / n)), YIELDS),
  sleepers,
  wake,
  "timeout": (n) => timeouts(n, 0),
  "timeout-yield": (n) => timeouts(n, 1),
  "nested-groups": (n) => repeat(() => nest(n), n),
  "nested-timeouts": (n) => repeat(() => nestOfLimits(n), n),
  "fail-one": (n) => repeat(() => fail(n, false), n),
  "fail-all": (n) => repeat(() => fail(n, true), n),
  offload,
  echo,
};

if (workloads[process.argv[2]] === undefined) process.exit(77);
await workloads[process.argv[2]](Number(process.argv[3]));
