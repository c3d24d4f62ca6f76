// Takes pictures of an HTML report for the README: its top, as it looks in the light and in the dark.
//
//   node pictures.mjs MODULES CHROMIUM PAGE FOLDER
//
// MODULES is the folder with node_modules; FOLDER gets report-light.png and report-dark.png.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, executablePath, page, folder] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), "package.json"));
const SIZE = { width: 1280, height: 900 };
const SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

const browser = await require("playwright-core").chromium.launch({ executablePath, args: SWITCHES });
try {
  for (const colorScheme of ["light", "dark"]) {
    const window = await browser.newPage({ viewport: SIZE, colorScheme });
    await window.goto(pathToFileURL(resolve(page)).href);
    // Down to the end of the timeline: what follows is read, not looked at.
    const timeline = await window.locator("figure.timeline svg").boundingBox();
    const clip = { x: 0, y: 0, width: SIZE.width, height: Math.ceil(timeline.y + timeline.height + 12) };
    await window.screenshot({ path: join(folder, `report-${colorScheme}.png`), clip, fullPage: true });
  }
} finally {
  await browser.close();
}
