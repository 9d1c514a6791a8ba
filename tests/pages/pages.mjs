// The pages in a browser: node pages.mjs FOLDER SCREENSHOTS
// FOLDER holds report.html, itself or in a folder below, and may hold worklist.html: those of the sample, or of a real run.

import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { flags, hasBrowser, launch } from "./open.mjs";
import { report } from "./report.mjs";
import { worklist } from "./worklist.mjs";

const [folder, shots] = process.argv.slice(2).map((path) => resolve(path));
if (!folder || !shots) {
  console.error("usage: node pages.mjs FOLDER SCREENSHOTS");
  process.exit(64);
}
if (!hasBrowser()) {
  console.log("skipped: pages in a browser, Chromium is not installed (CHROMIUM names it)");
  process.exit(0);
}
mkdirSync(shots, { recursive: true });

const failures = [];
let passed = 0;
/** Runs one test and goes on after a failure, so that a run tells everything. */
const test = async (name, body) => {
  try {
    await body();
    passed += 1;
    console.log(`ok ${name}`);
  } catch (error) {
    failures.push(name);
    console.log(`FAILED ${name}: ${error.message}`);
  }
};

const below = existsSync(join(folder, "report.html"))
  ? "report.html"
  : readdirSync(folder, { recursive: true }).find((path) => path.endsWith("report.html"));
if (!below) {
  console.error(`there is no report.html in ${folder}`);
  process.exit(66);
}
const home = dirname(join(folder, below));
const bytes = statSync(join(folder, below)).size;
console.log(`report.html: ${(bytes / 1e6).toFixed(2)} MB`);
for (const [kind, args] of Object.entries(flags)) {
  const browser = await launch(args);
  try {
    await report({ browser, folder: home, shots, test, webgl: kind === "webgl" });
    if (kind === "webgl" && existsSync(join(folder, "worklist.html"))) await worklist({ browser, folder, shots, test });
  } finally {
    await browser.close();
  }
}
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length > 0 ? 1 : 0;
