// Opens HTML reports in Chromium. Prints one line per test, as the lab does: `ok NAME`, `FAIL NAME: reason`.
//
//   node report.mjs MODULES CHROMIUM FILTER PAGE...
//
// MODULES is the folder with node_modules. Tests whose name does not contain FILTER are left out.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, executablePath, filter, ...pages] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), "package.json"));
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 400, height: 800 };

// Nothing but what the page itself asks for may reach any network.
const SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-quic"];

// What every page has to stand.
const TESTS = {
  async says_its_verdict(open) {
    for (const javaScriptEnabled of [true, false]) {
      const page = await open({ javaScriptEnabled });
      const sentence = await page.locator("header h1").textContent();
      assert.ok(sentence.trim().length > 20, `the sentence is only "${sentence}"`);
      assert.equal(await page.title(), sentence.trim().replace(/\s+/g, " "));
      assert.equal(await page.locator("main section h2").first().isVisible(), true);
    }
  },

  async is_accessible(open) {
    for (const options of [{}, { colorScheme: "dark" }, { viewport: NARROW }]) {
      const page = await open(options);
      await page.locator("details").evaluateAll((all) => all.forEach((one) => { one.open = true; }));
      await page.evaluate(require("axe-core").source);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      const told = grave.map(({ id, nodes }) => `${id} at ${nodes.map(({ target }) => target).join(", ")}`);
      assert.deepEqual(told, [], JSON.stringify(options));
    }
  },

  async fits_its_window(open) {
    for (const viewport of [WIDE, NARROW]) {
      const page = await open({ viewport });
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= viewport.width, `it is ${width} wide in a window of ${viewport.width}`);
    }
  },

  async prints(open) {
    const page = await open({});
    const pdf = await page.pdf({ format: "A4" });
    assert.ok(pdf.length > 5_000, `${pdf.length} bytes of PDF`);
  },

  async is_forbidden_any_network(open) {
    const page = await open({});
    const refused = await page.evaluate(() => new Promise((done) => {
      const seen = [];
      setTimeout(() => done(seen), 5_000);
      document.addEventListener("securitypolicyviolation", (event) => {
        seen.push(event.effectiveDirective);
        if (seen.length === 2) done(seen.sort());
      });
      const image = document.createElement("img");
      image.src = "http://192.0.2.1/spy.png";
      document.body.append(image);
      fetch("http://192.0.2.1/").catch(() => {});
    }));
    assert.deepEqual(refused, ["connect-src", "img-src"]);
    page.complaints.length = 0;
  },
};

// What a page with a timeline has to do.
const TIMELINE_TESTS = {
  async draws_a_timeline(open) {
    const page = await open({ javaScriptEnabled: false });
    assert.equal(await page.locator("figure.timeline svg").isVisible(), true);
    assert.ok(await page.locator("svg .phase").count() > 0, "no phases");
    assert.ok((await page.locator("svg desc").textContent()).includes("Phases: "), "no description");
    assert.equal(await page.locator(".tools").isVisible(), false);
  },

  async zooms_by_buttons_keys_wheel_and_mouse(open) {
    const page = await open({});
    const zoom = () => page.locator("svg .zoom").getAttribute("transform");
    const zooms = async (how, act) => {
      await page.getByRole("button", { name: "Whole run" }).click();
      const before = await zoom();
      await act();
      assert.notEqual(await zoom(), before, `${how} did not zoom`);
    };
    const box = await page.locator("svg").boundingBox();
    const at = (share) => [box.x + box.width * share, box.y + box.height / 2];
    await zooms("the button", () => page.getByRole("button", { name: "Zoom in" }).click());
    await zooms("the key", () => page.locator(".plot").press("+"));
    await zooms("the wheel", async () => {
      await page.mouse.move(...at(0.5));
      await page.keyboard.down("Control");
      await page.mouse.wheel(0, -200);
      await page.keyboard.up("Control");
      await page.waitForFunction(() => !document.querySelector(".zoom").getAttribute("transform").startsWith("matrix(1 "));
    });
    await zooms("dragging", async () => {
      await page.mouse.move(...at(0.4));
      await page.mouse.down();
      await page.mouse.move(...at(0.6), { steps: 3 });
      await page.mouse.up();
    });
  },
};

// What a page with measures in steps has to do.
const COURSE_TESTS = {
  async reads_out_what_the_table_says(open) {
    const page = await open({});
    const box = await page.locator("svg").boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    const said = await page.locator(".readout").textContent();
    assert.match(said, /^-?[\d.]+ s: connections/);
    const [first] = said.split(":");
    assert.equal(await page.locator("#course tbody th", { hasText: new RegExp(`^${first}$`) }).count(), 1);
  },
};

const url = (file) => pathToFileURL(resolve(file)).href;

// Opens a page and notes whatever it complains about and asks for.
async function opened(browser, file, options) {
  const context = await browser.newContext({ viewport: WIDE, colorScheme: "light", ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => page.complaints.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => page.complaints.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => { page.complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    if (request.url() !== url(file) && !request.url().startsWith("data:")) page.complaints.push(`request: ${request.url()}`);
  });
  await page.goto(url(file));
  return page;
}

async function test(browser, file, name, run) {
  const pages = [];
  try {
    await run(async (options) => {
      const page = await opened(browser, file, options);
      pages.push(page);
      return page;
    });
    assert.deepEqual(pages.flatMap((page) => page.complaints), []);
    console.log(`ok ${name}`);
    return true;
  } catch (error) {
    console.log(`FAIL ${name}: ${error.message.replace(/\s+/g, " ")}`);
    return false;
  } finally {
    await Promise.all(pages.map((page) => page.context().close()));
  }
}

async function testsOf(browser, file) {
  const page = await opened(browser, file, {});
  const [hasTimeline, hasCourse] = [await page.locator("figure.timeline").count(), await page.locator("#course").count()];
  await page.context().close();
  return { ...TESTS, ...(hasTimeline ? TIMELINE_TESTS : {}), ...(hasCourse ? COURSE_TESTS : {}) };
}

const nameOf = (file, what) => `${basename(file, ".html")}_${what}`;
const all = Object.keys({ ...TESTS, ...TIMELINE_TESTS, ...COURSE_TESTS });
const wanted = pages.filter((file) => all.some((what) => nameOf(file, what).includes(filter)));
if (wanted.length === 0) process.exit(0);

const browser = await require("playwright-core").chromium.launch({ executablePath, args: SWITCHES });
let failed = 0;
for (const file of wanted) {
  const tests = Object.entries(await testsOf(browser, file));
  for (const [what, run] of tests) {
    const name = nameOf(file, what);
    if (name.includes(filter) && !await test(browser, file, name, run)) failed += 1;
  }
}
await browser.close();
process.exitCode = failed === 0 ? 0 : 1;
