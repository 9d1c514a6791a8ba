// Opens pages in Chromium over file:// and watches what they must never do.

import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

export const hasBrowser = () => existsSync(CHROMIUM);

/** Software WebGL where there is no graphics card, or none at all. */
export const flags = {
  webgl: ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
  plain: ["--disable-webgl", "--disable-webgl2", "--disable-3d-apis"],
};

export const launch = (args) =>
  chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--allow-file-access-from-files", ...args] });

/** A page of `folder`, with everything that went wrong in it so far in `faults`. */
export const open = async (browser, folder, name, options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) faults.push(`request: ${request.url()}`);
  });
  page.on("requestfailed", (request) => faults.push(`failed: ${request.url()}`));
  await page.goto(pathToFileURL(`${folder}/${name}`).href);
  await page.waitForLoadState("load");
  return { page, faults, close: () => context.close() };
};

/** A number that changes when a canvas does, and the share of its pixels that are not black. */
export const look = (page, selector) =>
  page.locator(selector).evaluate(
    (canvas) =>
      new Promise((resolve) => {
        // A WebGL canvas keeps its pixels only until the frame has been shown.
        requestAnimationFrame(() =>
          requestAnimationFrame(() => {
            const copy = document.createElement("canvas");
            copy.width = Math.min(canvas.width, 256);
            copy.height = Math.min(canvas.height, 256);
            const context = copy.getContext("2d");
            context.drawImage(canvas, 0, 0, copy.width, copy.height);
            const { data } = context.getImageData(0, 0, copy.width, copy.height);
            let sum = 0;
            let bright = 0;
            for (let at = 0; at < data.length; at += 4) {
              sum = (sum * 31 + data[at] + 7 * data[at + 1] + 13 * data[at + 2]) % 2147483647;
              bright += Number(data[at] + data[at + 1] + data[at + 2] > 60);
            }
            resolve({ sum, bright: (4 * bright) / data.length });
          }),
        );
      }),
  );

/** Texts that are too faint for their background: WCAG 2.2 AA asks for 4.5:1, large ones for 3:1. */
export const faint = (page) =>
  page.evaluate(() => {
    const channels = (colour) => {
      const [red, green, blue, opacity = 1] = colour.match(/[\d.]+/g).map(Number);
      return { rgb: [red, green, blue], opacity };
    };
    const luminance = (rgb) => {
      const [red, green, blue] = rgb.map((value) => (value <= 10 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const background = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const { rgb, opacity } = channels(getComputedStyle(at).backgroundColor);
        if (opacity > 0.5) return rgb;
      }
      return [255, 255, 255];
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!own || !element.checkVisibility() || element.closest("script")) continue;
      const style = getComputedStyle(element);
      const inside = element.closest("svg") ? style.fill : style.color;
      const [one, other] = [luminance(channels(inside).rgb), luminance(background(element))].sort((a, b) => b - a);
      const ratio = (one + 0.05) / (other + 0.05);
      const large = parseFloat(style.fontSize) >= 24;
      if (ratio < (large ? 3 : 4.5)) found.push(`${element.tagName.toLowerCase()} "${element.textContent.slice(0, 30)}" ${ratio.toFixed(2)}`);
    }
    return found;
  });

/** Whether anything sticks out to the right of the window. */
export const overflow = (page) =>
  page.evaluate(() => {
    const wide = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll("body *")].filter((element) => {
      const box = element.getBoundingClientRect();
      return box.width > 1 && box.right > wide + 1 && getComputedStyle(element).position !== "absolute";
    });
    return out.slice(0, 3).map((element) => `${element.tagName.toLowerCase()}.${element.className}: ${element.textContent.slice(0, 40)}`);
  });
