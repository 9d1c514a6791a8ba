// The report: slices, comparison, 3-D view, keyboard, paper, colours.

import assert from "node:assert/strict";
import { faint, look, open, overflow } from "./open.mjs";

const SLICES = "#scroller .stage canvas";
const WIPE = "#wipe .stage canvas";

const ready = (page) => page.waitForFunction(() => document.querySelector("#scroller .stage canvas")?.width > 0 && document.querySelector("#scroller .tag.low")?.textContent);

const changes = async (page, selector, act, what) => {
  const before = await look(page, selector);
  await act();
  await page.waitForTimeout(150);
  const after = await look(page, selector);
  assert.notEqual(after.sum, before.sum, `${what} changes nothing`);
};

/** Presses Tab through the page and tells what had the focus, and whether it showed. */
const walk = async (page) => {
  const seen = [];
  for (let count = 0; count < 80; count += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const style = getComputedStyle(element);
      return { tag: element.tagName.toLowerCase(), role: element.getAttribute("role"), label: element.getAttribute("aria-label") ?? element.textContent.slice(0, 30), outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 };
    });
    if (!at) break;
    seen.push(at);
  }
  return seen;
};

export const report = async ({ browser, folder, shots, test, webgl }) => {
  const kind = webgl ? "" : "without WebGL: ";
  const fresh = async (body, options) => {
    const opened = await open(browser, folder, "report.html", options);
    try {
      await ready(opened.page);
      await body(opened.page);
      assert.deepEqual(opened.faults, []);
    } finally {
      await opened.close();
    }
  };

  await test(`${kind}the report shows slices`, () =>
    fresh(async (page) => {
      const { bright } = await look(page, SLICES);
      assert.ok(bright > 0.05, `only ${bright} of the slice is not black`);
      assert.match(await page.locator("h1").textContent(), /No doubts found|Check this/);
      assert.match(await page.locator("body").textContent(), /Not for diagnostic use/);
    }));

  if (!webgl) {
    await test(`${kind}the report says why there is no 3-D view`, () =>
      fresh(async (page) => {
        if ((await page.locator("#viewer-code").count()) === 0) return;
        assert.match(await page.locator("#no-volume").textContent(), /WebGL 2/);
        assert.equal(await page.locator("#open-volume").count(), 0);
        await page.screenshot({ path: `${shots}/report-without-webgl.png` });
      }));
    return;
  }

  await test("slices scroll by key and wheel", () =>
    fresh(async (page) => {
      const stage = page.locator("#scroller .stage");
      if ((await stage.getAttribute("role")) !== "slider") return;
      await stage.focus();
      await changes(page, SLICES, () => page.keyboard.press("ArrowUp"), "an arrow");
      const now = Number(await stage.getAttribute("aria-valuenow"));
      await page.keyboard.press("ArrowDown");
      assert.equal(Number(await stage.getAttribute("aria-valuenow")), now - 1);
      await page.keyboard.press("Home");
      assert.equal(await stage.getAttribute("aria-valuenow"), "1");
      await stage.hover();
      await changes(page, SLICES, () => page.mouse.wheel(0, 60), "the wheel");
      await page.keyboard.press("End");
      assert.equal(await stage.getAttribute("aria-valuenow"), await stage.getAttribute("aria-valuemax"));
    }));

  await test("window and level change the picture, and reset puts it back", () =>
    fresh(async (page) => {
      const before = await look(page, SLICES);
      const box = await page.locator("#scroller .stage").boundingBox();
      await changes(
        page,
        SLICES,
        async () => {
          await page.mouse.move(box.x + 200, box.y + 200);
          await page.mouse.down();
          await page.mouse.move(box.x + 120, box.y + 170, { steps: 4 });
          await page.mouse.up();
        },
        "a drag",
      );
      await page.getByRole("button", { name: "Reset" }).click();
      await page.waitForTimeout(150);
      assert.equal((await look(page, SLICES)).sum, before.sum);
      await page.getByRole("slider", { name: "Window" }).focus();
      await changes(page, SLICES, () => page.keyboard.press("ArrowLeft"), "the window slider");
      const frames = page.locator("#scroller select");
      if ((await frames.count()) > 0) await changes(page, SLICES, () => frames.selectOption({ index: 1 }), "another frame");
    }));

  await test("maps follow the slices and tell their numbers", () =>
    fresh(async (page) => {
      if ((await page.locator(".map").count()) === 0) return;
      const canvas = ".map .stage canvas >> nth=0";
      await page.locator(".map .stage").first().waitFor();
      if ((await page.locator("#scroller .stage").getAttribute("role")) === "slider") {
        await page.locator("#scroller .stage").focus();
        await changes(page, canvas, () => page.keyboard.press("Home"), "another slice");
      }
      await page.locator(".map .stage").first().hover();
      assert.match(await page.locator(".map .tag.right").first().textContent(), /\d/);
    }));

  await test("the comparison moves by mouse and by key", () =>
    fresh(async (page) => {
      if ((await page.locator("#wipe").count()) === 0) return;
      const stage = page.locator("#wipe .stage");
      await stage.scrollIntoViewIfNeeded();
      const click = async (share) => {
        const box = await stage.boundingBox();
        await page.mouse.click(box.x + box.width * share, box.y + box.height / 2);
        const edge = await page.locator("#wipe .edge").boundingBox();
        assert.ok(Math.abs(edge.x + edge.width / 2 - box.x - box.width * share) < 2, "the edge is not where the mouse is");
      };
      await changes(page, WIPE, () => click(0.25), "a click");
      const now = Number(await stage.getAttribute("aria-valuenow"));
      assert.ok(now > 10 && now < 30, `the edge is at ${now} %`);
      await stage.focus();
      await changes(page, WIPE, () => page.keyboard.press("PageUp"), "a key");
      await page.keyboard.press("End");
      const other = async (list) => list.selectOption({ index: (await list.inputValue()) === "0" ? 1 : 0 });
      await changes(page, WIPE, () => other(page.getByLabel("Left")), "another image on the left");
      const slice = page.locator("#wipe").getByLabel("Slice");
      if ((await slice.count()) > 0) await changes(page, WIPE, () => other(slice), "another slice");
      // In a low window the picture has bars at its sides, and the edge still follows the mouse.
      await page.setViewportSize({ width: 1280, height: 500 });
      await stage.scrollIntoViewIfNeeded();
      await click(0.4);
    }));

  await test("the 3-D view opens and draws", () =>
    fresh(async (page) => {
      if ((await page.locator("#viewer-code").count()) === 0) {
        console.log("skipped: 3-D view, the report was built without it (make viewer)");
        return;
      }
      await page.locator("#open-volume").click();
      await page.waitForSelector("#volume[data-ready]", { timeout: 60000 });
      await page.waitForTimeout(500);
      const drawn = async (name) => {
        const picture = await page.locator("#volume canvas").screenshot({ path: `${shots}/${name}.png` });
        const { bright } = await page.evaluate(async (bytes) => {
          const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
          const canvas = document.createElement("canvas");
          canvas.width = bitmap.width;
          canvas.height = bitmap.height;
          const context = canvas.getContext("2d");
          context.drawImage(bitmap, 0, 0);
          const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
          let bright = 0;
          for (let at = 0; at < data.length; at += 4) bright += Number(data[at] + data[at + 1] + data[at + 2] > 120);
          return { bright: (4 * bright) / data.length };
        }, [...picture]);
        assert.ok(bright > 0.02, `only ${bright} of ${name} is not black`);
      };
      await drawn("volume-planes");
      await page.getByRole("button", { name: "Rendering" }).click();
      await page.waitForTimeout(800);
      await drawn("volume-rendering");
      await page.locator("#open-volume").click();
      assert.equal(await page.locator("#volume").isVisible(), false);
    }));

  await test("every control is reached by Tab and shows its focus", () =>
    fresh(async (page) => {
      const seen = await walk(page);
      const sliders = seen.filter((at) => at.role === "slider" || at.tag === "input").length;
      assert.ok(seen.length >= 6, `only ${seen.length} stops`);
      assert.ok(sliders >= 1, "no slider among them");
      assert.deepEqual(seen.filter((at) => !at.outline), []);
      assert.deepEqual(seen.filter((at) => !at.label && at.tag !== "select" && at.tag !== "input"), []);
    }));

  await test("the theme can be chosen", () =>
    fresh(async (page) => {
      const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const before = await colour();
      await page.locator("#theme").click();
      assert.notEqual(await colour(), before);
    }));

  await test("the report prints with its montage and without controls", () =>
    fresh(async (page) => {
      await page.emulateMedia({ media: "print" });
      assert.equal(await page.locator("#montage img").isVisible(), true);
      for (const hidden of ["#scroller", "#wipe", "#theme", "#volume"]) {
        assert.equal(await page.locator(hidden).isVisible(), false, hidden);
      }
      await page.setViewportSize({ width: 794, height: 1123 });
      await page.screenshot({ path: `${shots}/report-print.png`, fullPage: true });
      await page.pdf({ path: `${shots}/report.pdf`, format: "A4", margin: { top: "12mm", bottom: "12mm", left: "12mm", right: "12mm" } });
    }));

  await test("without scripts the report shows its pictures and numbers", async () => {
    const { page, close } = await open(browser, folder, "report.html", { javaScriptEnabled: false });
    assert.equal(await page.locator("#montage img").isVisible(), true);
    assert.equal(await page.locator("#theme").isVisible(), false);
    await page.screenshot({ path: `${shots}/report-without-scripts.png` });
    await close();
  });

  for (const width of [1280, 390]) {
    for (const colorScheme of ["light", "dark"]) {
      await test(`the report fits ${width} px, ${colorScheme}`, () =>
        fresh(
          async (page) => {
            assert.deepEqual(await overflow(page), []);
            assert.deepEqual(await faint(page), []);
            assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
            await page.waitForTimeout(200);
            await page.screenshot({ path: `${shots}/report-${width}-${colorScheme}.png`, fullPage: true });
          },
          { viewport: { width, height: width === 390 ? 844 : 900 }, colorScheme },
        ));
    }
  }
};
