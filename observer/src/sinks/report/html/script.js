
"use strict";
// Adds what a page without a script cannot do: zooming, a readout and buttons to copy. Everything it shows is in the
// page already, and it is only ever written as text.
(() => {
  const svg = document.querySelector("figure.timeline svg");
  if (svg) timeline(svg);
  document.querySelectorAll(".commands li").forEach(copyable);

  function copyable(item) {
    const command = item.querySelector("code");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy: " + command.textContent);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(command.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(command);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    item.append(button);
  }

  function timeline(svg) {
    const [FROM, TO, LEFT, WIDTH] = ["from", "to", "left", "width"].map((name) => Number(svg.dataset[name]));
    const SHORTEST = Math.min(0.01, (TO - FROM) / 2);
    const figure = svg.closest("figure");
    const plot = svg.parentElement;
    const zoom = svg.querySelector(".zoom");
    const axis = svg.querySelector(".axis");
    let view = [FROM, TO];

    const xOf = (s) => LEFT + ((s - view[0]) / (view[1] - view[0])) * WIDTH;
    const secondsAt = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      return view[0] + ((Math.min(Math.max(x, LEFT), LEFT + WIDTH) - LEFT) / WIDTH) * (view[1] - view[0]);
    };

    // The part of the run between two instants, as far as there is one.
    function show(from, to) {
      const length = Math.min(Math.max(to - from, SHORTEST), TO - FROM);
      const start = Math.min(Math.max(from, FROM), TO - length);
      view = [start, start + length];
      const stretch = (TO - FROM) / length;
      zoom.setAttribute("transform", `matrix(${stretch} 0 0 1 ${xOf(FROM) - stretch * LEFT} 0)`);
      svg.querySelectorAll("[data-at]").forEach(placeFlag);
      svg.querySelectorAll("text[data-from]").forEach(placeName);
      drawAxis();
      hideCursor();
    }

    function placeFlag(flag) {
      const at = Number(flag.dataset.at);
      flag.setAttribute("transform", `translate(${xOf(at)} ${flag.dataset.y})`);
      flag.setAttribute("visibility", at >= view[0] && at <= view[1] ? "visible" : "hidden");
    }

    function placeName(name) {
      const from = Math.max(Number(name.dataset.from), view[0]);
      const to = Math.min(Number(name.dataset.to), view[1]);
      name.setAttribute("x", (xOf(from) + xOf(to)) / 2);
      const fits = to > from && xOf(to) - xOf(from) > name.getComputedTextLength() + 4;
      name.setAttribute("visibility", fits ? "visible" : "hidden");
    }

    function drawAxis() {
      const wanted = (view[1] - view[0]) / Number(axis.dataset.marks);
      const step = axis.dataset.steps.split(" ").map(Number).find((step) => step >= wanted) ?? wanted;
      axis.replaceChildren();
      for (let n = Math.ceil(view[0] / step); n * step <= view[1]; n += 1) {
        const text = element("text", { x: xOf(n * step), y: axis.dataset.y });
        text.textContent = instant(n * step, step);
        axis.append(text);
      }
    }

    function instant(at, step) {
      const sign = at < 0 ? "-" : "";
      const size = Math.abs(at);
      if (step < 1) return `${sign}${size.toFixed(step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3)} s`;
      const whole = Math.round(size);
      const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
      const two = (number) => String(number).padStart(2, "0");
      if (h) return `${sign}${h}:${two(m)}:${two(s)}`;
      return m ? `${sign}${m}:${two(s)}` : `${sign}${s} s`;
    }

    function element(tag, attributes) {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      return made;
    }

    // Zooming: around an instant, by buttons, keys and wheel, and by dragging.
    const around = (s, factor) => show(s - (s - view[0]) * factor, s + (view[1] - s) * factor);
    const middle = () => (view[0] + view[1]) / 2;
    const move = (share) => {
      const by = (view[1] - view[0]) * share;
      show(view[0] + by, view[1] + by);
    };
    const actions = {
      in: () => around(middle(), 0.5),
      out: () => around(middle(), 2),
      back: () => move(-0.25),
      on: () => move(0.25),
      all: () => show(FROM, TO),
    };
    const keys = { "+": "in", "=": "in", "-": "out", 0: "all", Escape: "all", ArrowLeft: "back", ArrowRight: "on" };

    figure.querySelector(".tools").hidden = false;
    figure.querySelectorAll("[data-zoom]").forEach((button) => {
      button.addEventListener("click", actions[button.dataset.zoom]);
    });
    plot.addEventListener("keydown", (event) => {
      const action = keys[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      actions[action]();
    });
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      around(secondsAt(event), event.deltaY < 0 ? 0.8 : 1.25);
    }, { passive: false });

    const height = svg.viewBox.baseVal.height;
    const picked = element("rect", { class: "picked", y: 0, height, visibility: "hidden" });
    const cursor = element("path", { class: "cursor", visibility: "hidden" });
    svg.append(picked, cursor);
    let dragFrom = null;
    svg.addEventListener("pointerdown", (event) => {
      // A finger scrolls the page.
      if (event.pointerType !== "mouse" || event.button !== 0) return;
      dragFrom = secondsAt(event);
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
      plot.focus({ preventScroll: true, focusVisible: false });
    });
    svg.addEventListener("pointermove", (event) => {
      const s = secondsAt(event);
      read(s);
      if (dragFrom === null) return;
      const [from, to] = [Math.min(dragFrom, s), Math.max(dragFrom, s)];
      picked.setAttribute("x", xOf(from));
      picked.setAttribute("width", xOf(to) - xOf(from));
      picked.setAttribute("visibility", "visible");
    });
    svg.addEventListener("pointerup", (event) => {
      if (dragFrom === null) return;
      const s = secondsAt(event);
      const [from, to] = [Math.min(dragFrom, s), Math.max(dragFrom, s)];
      dragFrom = null;
      picked.setAttribute("visibility", "hidden");
      if (xOf(to) - xOf(from) > 5) show(from, to);
    });
    svg.addEventListener("pointerleave", () => hideCursor());

    // The readout: what the table says about the step under the cursor.
    const table = document.getElementById("course");
    const readout = figure.querySelector(".readout");
    readout.hidden = !table;
    function read(s) {
      if (!table) return;
      const rows = table.tBodies[0].rows;
      const at = Math.floor((s - Number(rows[0]?.dataset.from)) / Number(table.dataset.step));
      cursor.setAttribute("d", `M${xOf(s)} 0V${height}`);
      cursor.setAttribute("visibility", "visible");
      const cells = rows[at]?.cells;
      if (!cells) {
        readout.textContent = "";
        return;
      }
      const names = table.tHead.rows[0].cells;
      const parts = Array.from(cells).slice(1).map((cell, n) => `${names[n + 1].textContent} ${cell.textContent}`);
      readout.textContent = `${cells[0].textContent}: ${parts.join(" · ")}`;
    }
    function hideCursor() {
      cursor.setAttribute("visibility", "hidden");
      readout.textContent = "";
    }
  }
})();
