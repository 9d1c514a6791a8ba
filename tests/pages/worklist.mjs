// The worklist: filter, chips, sorting, keyboard, narrow screens, no scripts.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { faint, open, overflow } from "./open.mjs";

export const worklist = async ({ browser, folder, shots, test }) => {
  const fresh = async (body, options, name = "worklist.html") => {
    const opened = await open(browser, folder, name, options);
    try {
      await body(opened.page);
      assert.deepEqual(opened.faults, []);
    } finally {
      await opened.close();
    }
  };
  const shown = (page) => page.locator("#list tbody tr:visible");
  const texts = (page, selector) => shown(page).locator(selector).allTextContents();

  await test("the worklist lists scans with pictures and links that work", () =>
    fresh(async (page) => {
      assert.ok((await shown(page).count()) > 0);
      const pictures = page.locator("#list img");
      if ((await pictures.count()) > 0) {
        await pictures.first().scrollIntoViewIfNeeded();
        await page.waitForFunction(() => document.querySelector("#list img").naturalWidth > 0);
      }
      const target = await page.locator("#list a").first().getAttribute("href").catch(() => null);
      if (target) {
        await page.locator("#list a").first().click();
        await page.waitForSelector("#verdict");
      }
    }));

  await test("filter and chips select rows", () =>
    fresh(async (page) => {
      const all = await shown(page).count();
      const name = (await texts(page, ".name > :first-child"))[0];
      await page.locator("#filter").fill(name);
      const some = await shown(page).count();
      assert.ok(some >= 1 && some <= all);
      for (const found of await texts(page, ".name")) assert.ok(found.toLowerCase().includes(name.toLowerCase()));
      await page.locator("#filter").fill("no scan has this name");
      assert.equal(await shown(page).count(), 0);
      assert.equal(await page.locator("#empty").isVisible(), true);
      await page.locator("#filter").fill("");
      for (const chip of await page.locator(".chip").all()) {
        const group = await chip.getAttribute("data-group");
        await chip.click();
        assert.equal(await chip.getAttribute("aria-pressed"), "true");
        assert.equal(await shown(page).count(), Number(await chip.locator("b").textContent()), `chip ${group}`);
      }
    }));

  await test("columns sort by click and by key", () =>
    fresh(async (page) => {
      const head = page.locator('th[data-key="name"]');
      await head.locator("button").click();
      assert.equal(await head.getAttribute("aria-sort"), "ascending");
      const order = new Intl.Collator("en", { numeric: true });
      const up = (await texts(page, ".name > :first-child")).map((text) => text.toLowerCase());
      assert.deepEqual(up, [...up].sort(order.compare));
      await head.locator("button").focus();
      await page.keyboard.press("Enter");
      assert.equal(await head.getAttribute("aria-sort"), "descending");
      const residual = page.locator('th[data-key="residual"] button');
      await residual.focus();
      await page.keyboard.press("Space");
      const values = (await shown(page).locator("td:nth-child(6)").evaluateAll((cells) => cells.map((cell) => cell.dataset.value))).filter(Boolean).map(Number);
      assert.deepEqual(values, [...values].sort((a, b) => a - b));
    }));

  await test("times are told as people do, with the exact time as title", () =>
    fresh(async (page) => {
      const time = shown(page).locator("time").first();
      assert.match(await time.textContent(), /ago|now|yesterday|in \d|tomorrow/);
      assert.match(await time.getAttribute("title"), /UTC/);
    }));

  await test("without scripts the worklist is a plain table", async () => {
    const { page, close } = await open(browser, folder, "worklist.html", { javaScriptEnabled: false });
    assert.ok((await page.locator("#list tbody tr").count()) > 0);
    assert.equal(await page.locator("#controls").isVisible(), false);
    assert.match(await page.locator("#list time").first().textContent(), /UTC/);
    await close();
  });

  if (existsSync(`${folder}/empty.html`)) {
    await test("an empty worklist says what to do", () =>
      fresh(
        async (page) => {
          assert.match(await page.locator("#empty").textContent(), /Put a raw archive on the share/);
          await page.screenshot({ path: `${shots}/worklist-empty.png` });
        },
        {},
        "empty.html",
      ));
  }

  for (const width of [1280, 390]) {
    for (const colorScheme of ["light", "dark"]) {
      await test(`the worklist fits ${width} px, ${colorScheme}`, () =>
        fresh(
          async (page) => {
            assert.deepEqual(await overflow(page), []);
            assert.deepEqual(await faint(page), []);
            assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
            for (const row of await page.locator("#list img").all()) await row.scrollIntoViewIfNeeded();
            await page.waitForTimeout(200);
            await page.screenshot({ path: `${shots}/worklist-${width}-${colorScheme}.png`, fullPage: true });
          },
          { viewport: { width, height: width === 390 ? 844 : 900 }, colorScheme },
        ));
    }
  }
};
