/* global make, byId, clamp, decode, tile, paint, greyTable */
// Scrolling through slices: one position for the images and all maps.

/** The slice that is shown, and who wants to know when it changes. */
const position = (count) => {
  const listeners = [];
  const state = {
    count,
    index: Math.floor(count / 2),
    listen: (listener) => listeners.push(listener),
    go: (index) => {
      const next = clamp(Math.round(index), 0, count - 1);
      if (next === state.index) return;
      state.index = next;
      listeners.forEach((listener) => listener());
    },
  };
  return state;
};

/** Makes an element a slider of slices: keys, wheel and swipes. */
const scrolls = (stage, place, label, describe) => {
  if (place.count < 2) return;
  stage.tabIndex = 0;
  for (const [name, value] of [
    ["role", "slider"],
    ["aria-label", label],
    ["aria-orientation", "vertical"],
    ["aria-valuemin", "1"],
    ["aria-valuemax", String(place.count)],
  ]) {
    stage.setAttribute(name, value);
  }
  const tell = () => {
    stage.setAttribute("aria-valuenow", String(place.index + 1));
    stage.setAttribute("aria-valuetext", describe());
  };
  place.listen(tell);
  tell();

  const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5, Home: -place.count, End: place.count };
  stage.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    place.go(place.index + steps[event.key]);
  });

  let turned = 0;
  stage.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey) return;
      const down = event.deltaY > 0;
      // At either end the wheel belongs to the page again.
      if (down ? place.index === place.count - 1 : place.index === 0) return;
      event.preventDefault();
      // A wheel counts in lines or pixels; touch pads send many small steps.
      turned += event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
      const whole = Math.trunc(turned / 30);
      if (whole !== 0) {
        turned -= whole * 30;
        place.go(place.index + clamp(whole, -3, 3));
      }
    },
    { passive: false },
  );

  // A finger moves through the slices sideways; up and down it moves the page.
  let from = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") from = { x: event.clientX, index: place.index };
  });
  stage.addEventListener("pointermove", (event) => {
    if (from && event.pointerType === "touch") {
      place.go(from.index + ((event.clientX - from.x) / stage.clientWidth) * Math.max(place.count, 8));
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, () => {
      from = null;
    });
  }
};

const slider = (label, range, change) => {
  const shown = make("output");
  const input = make("input", { type: "range", ...range, "aria-label": label });
  const element = make("label", {}, make("span", { className: "row" }, label, shown), input);
  const set = (value, text) => {
    input.value = value;
    shown.value = text ?? value;
  };
  input.addEventListener("input", () => change(Number(input.value)));
  return { element, set };
};

/** The images: slices, frames, window and level. */
const showSlices = async (pictures) => {
  const { frames, labels } = pictures;
  const place = position(frames[0].sheet.count);
  const decoded = new Map();
  const view = { frame: 0, window: 255, level: 128 };
  const canvas = make("canvas");
  const name = make("span", { className: "tag low" });
  const stage = make("div", { className: "stage" }, canvas, name);
  const describe = () => {
    const label = labels[place.index];
    return `${place.index + 1} of ${place.count}${label ? `, ${label}` : ""}`;
  };

  const sheet = (frame) => {
    if (!decoded.has(frame)) decoded.set(frame, decode(byId(`sheet-${frame}`).textContent));
    return decoded.get(frame);
  };
  // Where the picture cannot be read the montage stays.
  await sheet(0);
  const draw = async () => {
    const { frame } = view;
    const picture = await sheet(frame);
    // A quicker change may have come while a frame was unpacked.
    if (frame !== view.frame) return;
    const layout = frames[frame].sheet;
    paint(canvas, tile(picture, layout, place.index), layout, greyTable(view.window, view.level));
    name.textContent = frames.length > 1 ? `${describe()}, ${frames[frame].name}` : describe();
  };

  const slice = slider("Slice", { min: 1, max: place.count, step: 1 }, (value) => place.go(value - 1));
  const width = slider("Window", { min: 8, max: 384, step: 1 }, (value) => grey(value, view.level));
  const level = slider("Level", { min: 0, max: 255, step: 1 }, (value) => grey(view.window, value));
  const grey = (wide, middle) => {
    view.window = clamp(Math.round(wide), 8, 384);
    view.level = clamp(Math.round(middle), 0, 255);
    width.set(view.window);
    level.set(view.level);
    draw();
  };
  const whole = make("button", { type: "button", textContent: "Reset" });
  whole.addEventListener("click", () => grey(255, 128));
  stage.addEventListener("dblclick", () => grey(255, 128));

  // With the mouse: sideways the window, up and down the level.
  let drag = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button !== 0) return;
    drag = { x: event.clientX, y: event.clientY, window: view.window, level: view.level };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (drag) grey(drag.window + (event.clientX - drag.x) / 2, drag.level + (event.clientY - drag.y) / 2);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, () => {
      drag = null;
    });
  }

  const knobs = make("div", { className: "knobs" });
  if (frames.length > 1) {
    const choice = make("select", {}, ...frames.map((frame, index) => make("option", { value: index }, frame.name)));
    choice.addEventListener("change", () => {
      view.frame = Number(choice.value);
      draw();
    });
    knobs.append(make("label", { className: "wide" }, "Frame ", choice));
  }
  if (place.count > 1) {
    slice.element.className = "wide";
    knobs.append(slice.element);
  }
  knobs.append(width.element, level.element, whole);
  const actions = make("div", { className: "actions", id: "actions" });
  const several = place.count > 1;
  const hint = make(
    "p",
    { className: "hint" },
    make("span", { className: "mouse" }, `${several ? "Wheel or arrow keys: slices. " : ""}Drag: window and level.`),
    make("span", { className: "touch" }, several ? "Swipe sideways: slices." : ""),
  );
  const scroller = byId("scroller");
  scroller.append(stage, knobs, actions, hint);
  scroller.hidden = false;
  byId("montage").hidden = true;

  const follow = () => {
    slice.set(place.index + 1, `${place.index + 1} of ${place.count}`);
    draw();
  };
  place.listen(follow);
  scrolls(stage, place, "Slice", describe);
  grey(255, 128);
  follow();
  return { place, picture: () => sheet(view.frame), layout: () => frames[view.frame].sheet };
};
