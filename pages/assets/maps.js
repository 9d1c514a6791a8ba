/* global make, byId, decode, tile, paint, colourTable, position, scrolls, shownAt */
// Maps of numbers in colours, which follow the slices.

/** A number with three digits, as the rest of the page writes them. */
const digits = (value) => String(Number(value.toPrecision(3)));

const showMap = async (map, index, shared) => {
  const image = byId(`map-${index}`);
  const picture = await decode(image.src);
  const place = shared.count === map.sheet.count ? shared : position(map.sheet.count);
  const table = colourTable();
  const canvas = make("canvas");
  const where = make("span", { className: "tag low" });
  const value = make("span", { className: "tag right", hidden: true });
  const stage = make("div", { className: "stage" }, canvas, where, value);
  const text = (grey) => `${digits(map.low + ((map.high - map.low) * grey) / 255)} ${map.unit}`.trim();
  let shown = null;
  const draw = () => {
    shown = tile(picture, map.sheet, place.index);
    paint(canvas, shown, map.sheet, table);
    where.textContent = `${place.index + 1} of ${place.count}`;
    value.hidden = true;
  };
  stage.addEventListener("pointermove", (event) => {
    const box = shownAt(canvas);
    const column = Math.floor(((event.clientX - box.left) / box.width) * map.sheet.width);
    const row = Math.floor(((event.clientY - box.top) / box.height) * map.sheet.height);
    value.hidden = column < 0 || row < 0 || column >= map.sheet.width || row >= map.sheet.height;
    if (!value.hidden) value.textContent = text(shown[row * map.sheet.width + column]);
  });
  stage.addEventListener("pointerleave", () => {
    value.hidden = true;
  });
  const bar = make("canvas", { "aria-hidden": "true" });
  paint(bar, Uint8Array.from({ length: 256 }, (_, at) => at), { width: 256, height: 1 }, table);
  const scale = make("div", { className: "scale" }, make("span", {}, text(0)), bar, make("span", {}, text(255)));
  place.listen(draw);
  scrolls(stage, place, `${map.name}, slice`, () => `${place.index + 1} of ${place.count}`);
  draw();
  image.before(stage, scale);
  image.hidden = true;
  // The colour bar says it.
  image.closest("figure").querySelector(".range").hidden = true;
};
