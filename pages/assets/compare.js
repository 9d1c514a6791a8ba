/* global make, byId, clamp, shownAt */
// Two ways of filling the same slice, with an edge that is moved between them.

const choice = (label, names, selected, change) => {
  const select = make("select", {}, ...names.map((name, index) => make("option", { value: index }, name)));
  select.value = selected;
  select.addEventListener("change", () => change(Number(select.value)));
  return { element: make("label", {}, label, select), select };
};

const showComparison = () => {
  const strips = [...document.querySelectorAll(".strip")];
  const view = { strip: Math.floor(strips.length / 2), left: 0, right: 0, share: 50 };
  const images = () => [...strips[view.strip].querySelectorAll("img.way")];
  const names = () => images().map((image) => image.closest("figure").querySelector("figcaption").textContent);
  // The result against what it is most like: the last two.
  view.right = images().length - 1;
  view.left = Math.max(0, view.right - 1);

  const canvas = make("canvas");
  const edge = make("span", { className: "edge" });
  const left = make("span", { className: "tag left" });
  const right = make("span", { className: "tag right" });
  const stage = make(
    "div",
    { className: "stage", tabIndex: 0, role: "slider", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": "Edge between the two images" },
    canvas,
    edge,
    left,
    right,
  );

  const draw = async () => {
    const pair = [images()[view.left], images()[view.right]];
    await Promise.all(pair.map((image) => image.decode()));
    const [before, after] = pair;
    const wide = before.naturalWidth;
    const high = before.naturalHeight;
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
      place();
    }
    const context = canvas.getContext("2d");
    const at = Math.round((wide * view.share) / 100);
    context.drawImage(after, 0, 0, wide, high);
    if (at > 0) {
      context.save();
      context.beginPath();
      context.rect(0, 0, at, high);
      context.clip();
      context.drawImage(before, 0, 0, wide, high);
      context.restore();
    }
  };
  const place = () => {
    const box = shownAt(canvas);
    edge.style.left = `${box.left - stage.getBoundingClientRect().left + (box.width * view.share) / 100}px`;
  };
  new ResizeObserver(place).observe(stage);
  const show = () => {
    const shown = names();
    left.textContent = shown[view.left];
    right.textContent = shown[view.right];
    place();
    stage.setAttribute("aria-valuenow", String(Math.round(view.share)));
    stage.setAttribute("aria-valuetext", `${Math.round(view.share)} % ${shown[view.left]}, the rest ${shown[view.right]}`);
    draw();
  };
  const move = (share) => {
    view.share = clamp(share, 0, 100);
    show();
  };
  const steps = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
  stage.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(view.share + steps[event.key]);
  });
  let held = false;
  const follow = (event) => {
    const box = shownAt(canvas);
    move(((event.clientX - box.left) / box.width) * 100);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = true;
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (held) follow(event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, () => {
      held = false;
    });
  }

  const choose = make("div", { className: "choose" });
  const build = () => {
    const ways = names();
    const last = ways.length - 1;
    view.left = Math.min(view.left, last);
    view.right = Math.min(view.right, last);
    const parts = [
      choice("Left", ways, view.left, (index) => {
        view.left = index;
        show();
      }),
      choice("Right", ways, view.right, (index) => {
        view.right = index;
        show();
      }),
    ];
    if (strips.length > 1) {
      const titles = strips.map((strip) => strip.querySelector("h3").textContent);
      parts.unshift(
        choice("Slice", titles, view.strip, (index) => {
          view.strip = index;
          build();
          // The list that was used is a new one now.
          choose.querySelector("select").focus();
        }),
      );
    }
    choose.replaceChildren(...parts.map((part) => part.element));
    strips.forEach((strip, index) => {
      strip.hidden = index !== view.strip;
    });
    show();
  };
  byId("wipe").append(choose, stage);
  byId("wipe").hidden = false;
  build();
};
